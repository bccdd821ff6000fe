-- WhatsApp connection monitor: do events reach the monitor? The part of the checklist about webhooks.

-- ------------------------------------------------------------------------------------------------
-- Webhooks
-- ------------------------------------------------------------------------------------------------

-- Whether the webhook of each instance is as it should be, by the last look at it. Somebody else's is
-- no fault, but the monitor hears nothing then.
create or replace function whatsapp_monitor.check_webhooks()
returns table (check_name text, ok boolean, detail text, fix text)
language plpgsql stable
set search_path = ''
as $$
declare
  v_policy text;
  v_looked bigint;
  v_right  bigint;
  v_wrong  record;
  v_theirs record;
begin
  select t.webhook_policy into strict v_policy from whatsapp_monitor.settings t;
  check_name := 'webhooks';
  if v_policy = 'off' then
    ok := true;
    detail := 'Desligados: settings.webhook_policy é off.';
    return next;
    return;
  end if;

  select count(*), count(*) filter (where w.finding = 'right') into v_looked, v_right
  from whatsapp_monitor.webhooks w
  join whatsapp_monitor.instances i on i.id = w.instance_id and i.removed_at is null
  where w.finding is not null;
  -- A drift that is being repaired is gone at the next look.
  select w.finding, min(i.name) as name, count(*) as number into v_wrong
  from whatsapp_monitor.webhooks w
  join whatsapp_monitor.instances i on i.id = w.instance_id and i.removed_at is null
  where w.finding in ('no_receiver', 'refused', 'contended')
     or w.finding in ('drifted', 'wiped', 'empty')
        and (v_policy = 'verify' or w.looked_at < clock_timestamp() - interval '10 minutes'
                                    and i.status = 'connected')
  group by w.finding
  order by array_position('{no_receiver,refused,contended}', w.finding), count(*) desc
  limit 1;
  select min(i.name) as name, min(w.found_url) as url, count(*) as number into v_theirs
  from whatsapp_monitor.webhooks w
  join whatsapp_monitor.instances i on i.id = w.instance_id and i.removed_at is null
  where w.finding = 'foreign';

  if v_wrong.number > 0 then
    ok := false;
    detail := format('%s instância(s), por exemplo %s: ', v_wrong.number, v_wrong.name)
      || case v_wrong.finding
           when 'no_receiver' then 'não se sabe para onde os eventos devem ir.'
           when 'refused'     then 'o gateway recusou o webhook do monitor.'
           when 'contended'   then 'outro programa troca o webhook depois de cada conserto; o monitor parou por uma hora.'
           when 'drifted'     then 'o webhook difere do esperado.'
           when 'wiped'       then 'o gateway perdeu o webhook.'
           else                    'não há webhook.' end;
    fix := case v_wrong.finding
      when 'no_receiver' then
        $f$update whatsapp_monitor.settings set function_url = 'https://SEU-PROJETO.supabase.co';$f$
      when 'refused' then
        'select * from whatsapp_monitor.webhooks where finding = ''refused''; -- o log da função diz a resposta do gateway'
      when 'contended' then
        'update whatsapp_monitor.settings set webhook_policy = ''verify''; -- ou desligue o outro programa'
      else 'update whatsapp_monitor.settings set webhook_policy = ''manage'';' end;
  elsif v_theirs.number > 0 then
    ok := null;
    detail := format('%s instância(s), por exemplo %s, enviam a %s: o monitor não mexe nisso e não '
                     'recebe esses eventos. Para trocar: update whatsapp_monitor.settings set '
                     'webhook_policy = ''take_over''; para receber e repassar, também forward_to.',
                     v_theirs.number, v_theirs.name, coalesce(v_theirs.url, 'outro endereço'));
  else
    ok := case when v_looked > 0 then true end;
    detail := case when v_looked > 0 then format('%s em ordem.', v_right)
                   else 'Nenhum foi visto ainda: são vistos quando a instância está conectada.' end;
  end if;
  return next;
end
$$;
