-- WhatsApp connection monitor: what is done to an instance, and what came of it.

-- ------------------------------------------------------------------------------------------------
-- What was done so far
-- ------------------------------------------------------------------------------------------------

-- The actions on these instances that still matter to what is done next, oldest first: as many as any
-- budget counts. An instance without any is left out.
drop function if exists whatsapp_monitor.attempts_of(bigint);
create or replace function whatsapp_monitor.attempts_on(instance_ids bigint[])
returns table (instance_id bigint, attempts jsonb)
language sql stable
set search_path = ''
as $$
  select a.instance_id, jsonb_agg(jsonb_build_object(
           'id', a.id,
           'action', a.kind,
           'grounds', a.grounds,
           'granted_ms', whatsapp_monitor.epoch_ms(a.granted_at),
           'verdict', a.verdict
         ) order by a.granted_at, a.id)
  from whatsapp_monitor.actions a
  where a.instance_id = any (instance_ids) and a.kind in ('connect', 'restart')
    and a.granted_at > clock_timestamp() - interval '6 hours'
  group by a.instance_id
$$;

-- The last action on an instance, as people are shown it; null where there was none.
create or replace function whatsapp_monitor.last_action(instance bigint)
returns jsonb
language sql stable
set search_path = ''
as $$
  select jsonb_build_object('action', a.kind, 'grounds', a.grounds, 'at', a.granted_at,
                            'verdict', a.verdict)
  from whatsapp_monitor.actions a
  where a.instance_id = instance
  order by a.granted_at desc, a.id desc
  limit 1
$$;

-- ------------------------------------------------------------------------------------------------
-- Before an action
-- ------------------------------------------------------------------------------------------------

-- Grants actions before they are sent: each only while the instance is watched and the tick holds it
-- for another min_lease_ms, nobody has written it since it was decided, and within every budget that
-- the caller names, webhooks and recoveries counted apart. One that is granted counts from then on,
-- whatever becomes of it. One action an
-- instance and tick; to ask for it again is harmless.
--
-- request: {tick_id, actions: [{instance_id, fence, version, kind, grounds, min_lease_ms,
--           budgets: [{window_s, max}]}]}; version may be left out
-- answer:  {granted: [instance_id],
--           refused: [{instance_id, why: "removed" | "lease" | "stale" | "busy" | "budget"}]}
create or replace function public.whatsapp_monitor_record_actions(request jsonb)
returns jsonb
language plpgsql security definer
set search_path = ''
as $$
declare
  v_tick    uuid  := request ->> 'tick_id';
  v_granted jsonb := '[]';
  v_refused jsonb := '[]';
  v_action  record;
  v_now     timestamptz;
begin
  if v_tick is null then
    raise exception 'tick_id is required' using errcode = '22023';
  end if;
  for v_action in
    select a.instance_id, a.fence, a.version, a.kind, a.grounds, a.min_lease_ms,
           coalesce(a.budgets, '[]') as budgets
    from jsonb_to_recordset(request -> 'actions')
      as a (instance_id bigint, fence bigint, version bigint, kind text, grounds text,
            min_lease_ms integer, budgets jsonb)
    order by a.instance_id
  loop
    -- The row lock makes the count and the grant one step.
    perform from whatsapp_monitor.instances i where i.id = v_action.instance_id for update;
    v_now := clock_timestamp();
    if exists (
      select from whatsapp_monitor.instances i
      where i.id = v_action.instance_id and i.removed_at is not null) then
      v_refused := v_refused
        || jsonb_build_object('instance_id', v_action.instance_id, 'why', 'removed');
    elsif not exists (
      select from whatsapp_monitor.instances i
      where i.id = v_action.instance_id and i.fence = v_action.fence and i.lease_tick = v_tick
        and i.lease_until >= v_now + make_interval(secs => v_action.min_lease_ms / 1000.0)) then
      v_refused := v_refused
        || jsonb_build_object('instance_id', v_action.instance_id, 'why', 'lease');
    elsif exists (
      select from whatsapp_monitor.instances i
      where i.id = v_action.instance_id and i.version <> v_action.version) then
      v_refused := v_refused
        || jsonb_build_object('instance_id', v_action.instance_id, 'why', 'stale');
    elsif exists (
      select from whatsapp_monitor.actions a
      where a.tick_id = v_tick and a.instance_id = v_action.instance_id
        and a.kind = v_action.kind) then
      v_granted := v_granted || to_jsonb(v_action.instance_id);
    elsif exists (
      select from whatsapp_monitor.actions a
      where a.tick_id = v_tick and a.instance_id = v_action.instance_id) then
      v_refused := v_refused
        || jsonb_build_object('instance_id', v_action.instance_id, 'why', 'busy');
    elsif exists (
      select from jsonb_to_recordset(v_action.budgets) as b (window_s integer, max integer)
      where b.max <= (
        select count(*) from whatsapp_monitor.actions a
        where a.instance_id = v_action.instance_id
          and (a.kind = 'webhook_set') = (v_action.kind = 'webhook_set')
          and a.granted_at > v_now - make_interval(secs => b.window_s))) then
      v_refused := v_refused
        || jsonb_build_object('instance_id', v_action.instance_id, 'why', 'budget');
    else
      insert into whatsapp_monitor.actions (instance_id, tick_id, kind, grounds, granted_at)
      values (v_action.instance_id, v_tick, v_action.kind, v_action.grounds, v_now);
      v_granted := v_granted || to_jsonb(v_action.instance_id);
    end if;
  end loop;
  return jsonb_build_object('granted', v_granted, 'refused', v_refused);
end
$$;

-- ------------------------------------------------------------------------------------------------
-- After it
-- ------------------------------------------------------------------------------------------------

-- Keeps what came of actions, of this tick's and of earlier ones, and writes it beside the outage
-- that they were for. Called with the results of finish_tick, once they are written: what it made of
-- earlier ones stands in the instance's memory too, and counts with that alone.
create or replace function whatsapp_monitor.record_verdicts(tick uuid, results jsonb)
returns void
language plpgsql
set search_path = ''
as $$
declare
  v_touched bigint[];
begin
  with found as (
    select r.id, r.ack, r.verdicts
    from jsonb_to_recordset(results) as r (id bigint, ack text, verdicts jsonb)
  ),
  answered as (
    update whatsapp_monitor.actions a
    set ack = f.ack,
        verdict = case when f.ack = 'refused' then 'refused' else a.verdict end,
        judged_at = case when f.ack = 'refused' then clock_timestamp() else a.judged_at end
    from found f
    where a.tick_id = tick and a.instance_id = f.id and f.ack is not null
    returning a.id
  ),
  judged as (
    update whatsapp_monitor.actions a
    set verdict = v.verdict, judged_at = clock_timestamp()
    from found f
    join whatsapp_monitor.instances i on i.id = f.id and i.checked_by = tick
    cross join lateral jsonb_to_recordset(coalesce(f.verdicts, '[]'))
      as v (action_id bigint, verdict text)
    where a.id = v.action_id and a.instance_id = f.id
    returning a.id
  )
  select array_agg(id) into v_touched
  from (select id from answered union select id from judged) t;

  if v_touched is null then
    return;
  end if;
  update whatsapp_monitor.outages o
  set actions = (
    select jsonb_agg(jsonb_build_object('action', a.kind, 'grounds', a.grounds,
                                        'at', a.granted_at, 'verdict', a.verdict)
                     order by a.granted_at, a.id)
    from whatsapp_monitor.actions a
    where a.instance_id = o.instance_id and a.kind <> 'webhook_set'
      and a.granted_at between o.started_at and coalesce(o.ended_at, 'infinity'))
  where o.id in (
    select l.id
    from whatsapp_monitor.actions a
    join whatsapp_monitor.outages l on l.instance_id = a.instance_id
      and a.granted_at between l.started_at and coalesce(l.ended_at, 'infinity')
    where a.id = any (v_touched));
end
$$;

-- ------------------------------------------------------------------------------------------------
-- For people
-- ------------------------------------------------------------------------------------------------

-- Lets the monitor act again on an instance that an action has made worse, once a person has seen to
-- it. Says whether it had stopped.
create or replace function whatsapp_monitor.resume(organization text, name text)
returns boolean
language plpgsql
set search_path = ''
as $$
declare
  v_known   boolean;
  v_stopped boolean;
begin
  with named as (
    select distinct i.id, i.state ->> 'halted_at' is not null as stopped
    from whatsapp_monitor.instances i
    join whatsapp_monitor.sources s on s.instance_id = i.id
    where s.organization_id = resume.organization and i.name = resume.name
  ),
  resumed as (
    update whatsapp_monitor.instances i
    set state = i.state - 'halted_at', version = i.version + 1
    from named n
    where i.id = n.id and n.stopped
  )
  select count(*) > 0, coalesce(bool_or(n.stopped), false) into v_known, v_stopped from named n;
  if not v_known then
    raise exception 'O monitor não conhece a instância % da organização %.', name, organization
      using hint = 'select organization_id, instance_id from whatsapp_monitor.sources lista o que ele conhece.';
  end if;
  return v_stopped;
end
$$;
