-- WhatsApp connection monitor: would an event arrive? An event of our own goes the way that gateways'
-- events go, through the public URL, with a secret that is no instance's.

create table if not exists whatsapp_monitor.receiver_test (
  only_row   boolean primary key default true check (only_row),
  secret     text not null default whatsapp_monitor.new_secret(),
  sent_at    timestamptz not null default '-infinity',
  request_id bigint,
  problem    text,
  arrived_at timestamptz
);
comment on table whatsapp_monitor.receiver_test is
  'The last event that we sent to our own receiver: the secret that came with it, pg_net''s number or what kept it from being sent, and when it arrived.';
insert into whatsapp_monitor.receiver_test default values on conflict do nothing;

-- Where gateways reach our receiver; null where nobody has said where the function is.
create or replace function whatsapp_monitor.receiver_url()
returns text
language sql stable
set search_path = ''
as $$
  select regexp_replace(whatsapp_monitor.trigger_url(), '/whatsapp/monitor/start$', '/whatsapp/webhook')
$$;

-- Sends an event to our own receiver. Some seconds later the checklist tells what became of it:
--
--   select whatsapp_monitor.test_receiver();
create or replace function whatsapp_monitor.test_receiver()
returns void
language plpgsql
set search_path = ''
as $$
declare
  v_secret  text := whatsapp_monitor.new_secret();
  v_request bigint;
  v_problem text;
begin
  begin
    if whatsapp_monitor.receiver_url() is null then
      v_problem := 'no_url';
    else
      v_request := net.http_post(
        url                  := whatsapp_monitor.receiver_url(),
        body                 := '{"event": "monitor.test", "data": null}',
        headers              := jsonb_build_object('Content-Type', 'application/json',
                                                   'x-monitor-webhook-secret', v_secret),
        timeout_milliseconds := 5000);
    end if;
  exception when others then
    v_problem := sqlstate;
  end;
  update whatsapp_monitor.receiver_test
  set secret = v_secret, sent_at = clock_timestamp(), request_id = v_request, problem = v_problem,
      arrived_at = null;
end
$$;

-- Once an hour, where there are webhooks that depend on it. Spoils nothing when it fails.
create or replace function whatsapp_monitor.test_receiver_if_due()
returns void
language plpgsql
set search_path = ''
as $$
begin
  if exists (select from whatsapp_monitor.receiver_test t
             where t.sent_at <= clock_timestamp() - interval '1 hour')
     and exists (select from whatsapp_monitor.webhooks) then
    perform whatsapp_monitor.test_receiver();
  end if;
exception when others then
  raise warning 'whatsapp_monitor: no test of the receiver: %', sqlstate;
end
$$;

-- Takes note that the test's event arrived. Answers whether it was that.
create or replace function whatsapp_monitor.is_receiver_test(digest text)
returns boolean
language plpgsql
set search_path = ''
as $$
begin
  update whatsapp_monitor.receiver_test t
  set arrived_at = clock_timestamp()
  where whatsapp_monitor.digest_of(t.secret) = digest
    and t.sent_at > clock_timestamp() - interval '10 minutes';
  return found;
end
$$;

-- Whether the receiver takes events, by the last test.
create or replace function whatsapp_monitor.check_receiver()
returns table (check_name text, ok boolean, detail text, fix text)
language plpgsql stable
set search_path = ''
as $$
declare
  v_test    whatsapp_monitor.receiver_test;
  v_status  integer;
  v_late    boolean;
  v_error   text;
  v_content text;
  v_again   constant text := 'select whatsapp_monitor.test_receiver(); -- e veja de novo em 10 segundos';
  v_deploy  constant text := 'supabase functions deploy rendizy-server --no-verify-jwt';
begin
  check_name := 'webhook recebe';
  select * into strict v_test from whatsapp_monitor.receiver_test;
  if v_test.request_id is not null and to_regclass('net._http_response') is not null then
    select a.status_code, a.timed_out, a.error_msg, a.content
    into v_status, v_late, v_error, v_content
    from net._http_response a
    where a.id = v_test.request_id and a.created > v_test.sent_at - interval '1 minute';
  end if;
  ok := case when v_test.arrived_at is not null then v_status is null or v_status between 200 and 299
             when v_test.sent_at > clock_timestamp() - interval '30 seconds' then null
             when v_test.sent_at = '-infinity' then null
             else false end;
  select w.detail, w.fix into detail, fix
  from (values
    (ok, 'Um evento de teste chegou pela URL pública.', null),
    (v_test.sent_at = '-infinity', 'Ainda não testado.', v_again),
    (ok is null, 'O evento de teste está a caminho.', v_again),
    (v_test.problem = 'no_url', 'Não se sabe onde está a função.',
     $f$update whatsapp_monitor.settings set function_url = 'https://SEU-PROJETO.supabase.co';$f$),
    (v_test.problem is not null, 'O pg_net recusou o pedido: ' || v_test.problem,
     whatsapp_monitor.paste_again()),
    (v_late, 'O receptor não respondeu em 5 s.', v_deploy),
    (v_error is not null, 'Ninguém atende em ' || whatsapp_monitor.receiver_url(), v_deploy),
    (v_status = 401 and v_content !~ 'segredo do webhook',
     '401: quem recusou foi o Supabase, antes da função: verify_jwt está ligado, e cada evento se '
     'perde. Execute a correção no terminal.', v_deploy),
    (v_status between 300 and 399,
     v_status || ': o endereço redireciona, e a Evolution não entrega a redirecionamentos.', v_deploy),
    (v_status in (400, 401, 403, 404, 422),
     v_status || ': cada evento se perde para sempre. A função é de uma versão sem receptor, ou não é '
     'esta.', v_deploy),
    (v_status between 200 and 299,
     v_status || ', mas o evento não chegou ao banco: outra função está nesse endereço.', v_deploy),
    (v_status is not null, v_status || ': a função falhou; a Evolution tentará de novo.', v_deploy),
    (true, 'O evento de teste não teve resposta.', v_again)
  ) as w (holds, detail, fix)
  where w.holds
  limit 1;
  if v_test.sent_at > '-infinity' then
    detail := format('%s (%s)', detail, whatsapp_monitor.ago(v_test.sent_at));
  end if;
  return next;
end
$$;
