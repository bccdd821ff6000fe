-- WhatsApp connection monitor: how everything is, for people and programs.

-- ------------------------------------------------------------------------------------------------
-- Status
-- ------------------------------------------------------------------------------------------------

-- Every instance, of one organization or of all, as the last check left it.
--
-- request: {caller, token_digests, organization_id: text or null}
-- answer:  {outcome: "accepted" | "unauthorized", now, instances: [{organization_id, instance_name,
--           gateway, status, since, reason: {code, text} or null, checked_at, down_since,
--           last_action: {action, grounds, at, verdict} or null}]}
create or replace function public.whatsapp_monitor_status(request jsonb)
returns jsonb
language plpgsql stable security definer
set search_path = ''
set timezone = 'UTC'
as $$
declare
  v_organization text := request ->> 'organization_id';
begin
  if not whatsapp_monitor.may_call(request) then
    return jsonb_build_object('outcome', 'unauthorized');
  end if;
  return jsonb_build_object(
    'outcome', 'accepted',
    'now', clock_timestamp(),
    'instances', (
      select coalesce(jsonb_agg(jsonb_build_object(
        'organization_id', w.organization_id,
        'instance_name', i.name,
        'gateway', g.url,
        'status', i.status,
        'since', i.status_since,
        'reason', case when i.reason_code is not null
                       then jsonb_build_object('code', i.reason_code, 'text', i.reason_text) end,
        'checked_at', i.checked_at,
        'down_since', o.started_at,
        'last_action', whatsapp_monitor.last_action(i.id)
      ) order by w.organization_id, i.name, i.id), '[]')
      from whatsapp_monitor.watched_by(v_organization) w
      join whatsapp_monitor.instances i on i.id = w.instance_id
      join whatsapp_monitor.gateways g on g.id = i.gateway_id
      left join whatsapp_monitor.outages o on o.instance_id = i.id and o.ended_at is null));
end
$$;
