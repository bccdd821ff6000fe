-- WhatsApp connection monitor: do the job's calls arrive? The part of the checklist from the URL and
-- the token to the function's answers.

-- ------------------------------------------------------------------------------------------------
-- URL and token
-- ------------------------------------------------------------------------------------------------

-- Whether the job knows where the function is.
create or replace function whatsapp_monitor.check_url()
returns table (check_name text, ok boolean, detail text, fix text)
language sql stable
set search_path = ''
as $$
  select 'URL da função', u.url is not null,
         coalesce(u.url, 'Ainda não se sabe onde está a função; o pg_cron não a chama. A primeira '
                         'chamada de outra origem a informa, ou execute a correção com o endereço do '
                         'projeto.'),
         $f$update whatsapp_monitor.settings set function_url = 'https://SEU-PROJETO.supabase.co';$f$
  from (select whatsapp_monitor.trigger_url() as url) u
$$;

-- Whether what the job sends is what is accepted, and whether the function's environment accepts what
-- is not to be accepted any more.
create or replace function whatsapp_monitor.check_token()
returns table (check_name text, ok boolean, detail text, fix text)
language plpgsql stable
set search_path = ''
as $$
declare
  v_digest  text;
  v_known   record;
  v_said    whatsapp_monitor.environment;
begin
  check_name := 'token';
  fix := 'select whatsapp_monitor.schedule();';
  if to_regclass('vault.decrypted_secrets') is null then
    ok := false;
    detail := 'Sem o Vault não há token.';
    fix := whatsapp_monitor.paste_again();
  else
    v_digest := whatsapp_monitor.digest_of(whatsapp_monitor.trigger_token());
    select t.expires_at, t.created_at into v_known
    from whatsapp_monitor.trigger_tokens t where t.digest = v_digest;
    ok := v_digest is not null and v_known.created_at is not null
      and coalesce(v_known.expires_at, 'infinity') > clock_timestamp();
    detail := case
      when v_digest is null then
        'O Vault não tem o segredo whatsapp_monitor_token, ou ele não é um token.'
      when v_known.created_at is null then
        'O token do Vault não é o que o monitor aceita.'
      when not ok then 'O token do Vault venceu.'
      else 'O mesmo no Vault e no monitor.'
    end;
  end if;
  return next;

  check_name := 'token do ambiente';
  select * into strict v_said from whatsapp_monitor.environment;
  ok := true;
  fix := 'supabase secrets unset WHATSAPP_MONITOR_TOKEN';
  detail := case
    when v_said.reported_at = '-infinity' then 'A função ainda não disse se tem um.'
    when v_said.token_digest is null then
      'A função não tem WHATSAPP_MONITOR_TOKEN, e não precisa.'
    when v_said.token_digest = v_digest then 'O mesmo que o do Vault.'
    else 'A função aceita, além do token do Vault, o de WHATSAPP_MONITOR_TOKEN, que é outro.'
  end;
  if v_said.reported_at = '-infinity' then
    ok := null;
  elsif exists (
    select from whatsapp_monitor.trigger_tokens t
    where t.digest = v_said.token_digest and t.expires_at <= clock_timestamp()
  ) then
    ok := false;
    detail := 'WHATSAPP_MONITOR_TOKEN ainda é um token que foi trocado: quem o tem continua entrando. '
              'Execute a correção no terminal, ou defina lá o token novo.';
  end if;
  return next;
end
$$;

-- ------------------------------------------------------------------------------------------------
-- What became of the calls
-- ------------------------------------------------------------------------------------------------

-- Our requests of the last quarter of an hour, newest first, and what became of each, as a code:
-- ok, waiting, no_url, no_token, failed, unanswered, timeout, unknown_host, refused, token, gateway,
-- not_found, stranger, or the status.
create or replace function whatsapp_monitor.calls()
returns table (at timestamptz, outcome text, status_code integer, problem text)
language plpgsql stable
set search_path = ''
as $$
begin
  if to_regclass('net._http_response') is null then
    return query
      select r.at, coalesce(substring(r.problem from '^no_(?:url|token)$'), 'failed'), null::integer,
             r.problem
      from whatsapp_monitor.requests r
      where r.at > clock_timestamp() - interval '15 minutes' and r.problem is not null
      order by r.at desc;
    return;
  end if;
  return query
    select r.at,
           case
             when r.problem in ('no_url', 'no_token')       then r.problem
             when r.problem is not null                     then 'failed'
             when a.id is null and r.at > clock_timestamp() - interval '30 seconds' then 'waiting'
             when a.id is null                              then 'unanswered'
             when a.timed_out                               then 'timeout'
             when a.error_msg ~* 'resolve'                  then 'unknown_host'
             when a.error_msg is not null                   then 'refused'
             -- Ours says which tick it was; others answer 200 to everything.
             when a.status_code between 200 and 299
                  and a.content ~ '"tick_id"'               then 'ok'
             when a.status_code between 200 and 299         then 'stranger'
             when a.status_code = 401 and a.content ~ 'token do monitor' then 'token'
             when a.status_code = 401                       then 'gateway'
             when a.status_code = 404                       then 'not_found'
             else 'status'
           end,
           a.status_code, r.problem
    from whatsapp_monitor.requests r
    -- A crash of the database begins pg_net's numbers anew.
    left join net._http_response a
      on a.id = r.request_id and a.created between r.at - interval '1 minute'
                                               and r.at + interval '10 minutes'
    where r.at > clock_timestamp() - interval '15 minutes'
    order by r.at desc, r.id desc;
end
$$;

-- What became of our calls, by the last one that is decided.
create or replace function whatsapp_monitor.check_calls()
returns table (check_name text, ok boolean, detail text, fix text)
language plpgsql stable
set search_path = ''
as $$
declare
  v_last   record;
  v_counts record;
  v_url    text := $f$update whatsapp_monitor.settings set function_url = 'https://SEU-PROJETO.supabase.co';$f$;
begin
  check_name := 'chamadas';
  select * into v_last from whatsapp_monitor.calls() c where c.outcome <> 'waiting' limit 1;
  select count(*) as calls, count(*) filter (where c.outcome = 'ok') as good into v_counts
  from whatsapp_monitor.calls() c where c.outcome <> 'waiting';
  if v_last is null then
    ok := case when not whatsapp_monitor.is_new() then false end;
    detail := 'Nenhuma chamada do pg_cron com resposta nos últimos 15 minutos.';
    fix := 'select whatsapp_monitor.schedule();';
    return next;
    return;
  end if;
  ok := v_last.outcome = 'ok';
  select w.detail, w.fix into detail, fix
  from (values
    ('ok', 'A função aceitou.', null),
    ('no_url', 'Não houve chamada: não se sabe onde está a função.', v_url),
    ('no_token', 'Não houve chamada: não há token no Vault.', 'select whatsapp_monitor.schedule();'),
    ('failed', 'Não houve chamada: o pg_net recusou o pedido: ' || v_last.problem,
     whatsapp_monitor.paste_again()),
    ('unanswered', 'O pg_net não enviou o pedido, ou perdeu a resposta: o processo dele pode ter parado.',
     'select net.worker_restart();'),
    ('timeout', 'A função não respondeu em 5 s. Veja os logs dela (Edge Functions > rendizy-server > '
                'Logs): está sobrecarregada, ou o banco de dados não responde a ela.',
     'supabase functions deploy rendizy-server'),
    ('unknown_host', 'O endereço da função não existe: ' || whatsapp_monitor.trigger_url(), v_url),
    ('refused', 'Ninguém atende no endereço da função: ' || whatsapp_monitor.trigger_url(), v_url),
    ('token', '401: a função não aceitou o token.', 'select whatsapp_monitor.schedule();'),
    ('gateway', '401: quem recusou foi o Supabase, antes da função: verify_jwt está ligado. Execute '
                'a correção no terminal.',
     'supabase functions deploy rendizy-server --no-verify-jwt'),
    ('not_found', '404: não há tal função nesse endereço. Execute a correção no terminal, ou corrija '
                  'settings.function_url.',
     'supabase functions deploy rendizy-server'),
    ('stranger', format('Respondeu %s, mas não o monitor: outra função está nesse endereço (a versão '
                        'antiga?). Execute a correção no terminal.', v_last.status_code),
     'supabase functions deploy rendizy-server'),
    ('status', format('%s: a função falhou. Veja os logs dela (Edge Functions > rendizy-server > '
                      'Logs); se é a versão antiga, execute a correção no terminal.',
                      v_last.status_code),
     'supabase functions deploy rendizy-server')
  ) as w (outcome, detail, fix)
  where w.outcome = v_last.outcome;
  detail := format('%s (a última %s; %s de %s boas em 15 minutos)', detail,
                   whatsapp_monitor.ago(v_last.at), v_counts.good, v_counts.calls);
  return next;
end
$$;

-- Whether somebody who is to call is refused.
create or replace function whatsapp_monitor.check_refusals()
returns table (check_name text, ok boolean, detail text, fix text)
language sql stable
set search_path = ''
as $$
  select 'recusas',
         coalesce(bool_and(r.source not in ('pg_cron', 'cron_job_org', 'uptimerobot', 'easycron')), true),
         coalesce('Recusados nos últimos 15 minutos: '
                  || string_agg(format('%s, %s vezes (%s)', r.source, r.times, r.why), '; ') || '.',
                  'Ninguém foi recusado nos últimos 15 minutos.'),
         $f$select decrypted_secret from vault.decrypted_secrets where name = 'whatsapp_monitor_token'; -- o token que o serviço externo deve enviar$f$
  from (
    select r.source, sum(r.count) as times,
           string_agg(distinct case r.why when 'no_token' then 'sem token'
                                          when 'bad_token' then 'token errado'
                                          else 'organização desconhecida' end, ', ') as why
    from whatsapp_monitor.refusals r
    where r.minute > clock_timestamp() - interval '15 minutes'
    group by r.source
    order by r.source
  ) r
$$;
