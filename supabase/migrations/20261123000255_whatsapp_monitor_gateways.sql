-- WhatsApp connection monitor: what a tick is told of the gateways, and what it learns of them.

-- ------------------------------------------------------------------------------------------------
-- Before
-- ------------------------------------------------------------------------------------------------

-- What is known of the gateways of the instances that this tick holds.
create or replace function whatsapp_monitor.gateways_of(tick uuid)
returns jsonb
language sql stable
set search_path = ''
as $$
  with held as (
    select i.gateway_id, count(*) as instances
    from whatsapp_monitor.instances i
    where i.lease_tick = tick and i.lease_until > clock_timestamp()
    group by i.gateway_id
  ),
  -- What others saw lately. The status alone does not tell whether the last check had an answer.
  -- Read twice, as far as needed each time, and not once to its end: the latest first, by an index.
  -- That takes a time that stands still, and no join.
  seen as not materialized (
    select i.gateway_id, i.checked_at, i.status
    from whatsapp_monitor.instances i
    where i.removed_at is null and i.lease_tick is distinct from tick
      and i.checked_at > (
        select statement_timestamp() - make_interval(secs => 2 * t.interval_s)
        from whatsapp_monitor.settings t)
      and i.status <> 'misconfigured' and i.state ->> 'unanswered' is null
  )
  select coalesce(jsonb_agg(jsonb_build_object(
           'url', g.url,
           'version', g.version,
           -- The question costs the gateway a lookup. An update is noticed within hours, and at once
           -- where the gateway was away for it; until it was told once, nothing can be done there.
           'version_due', coalesce(g.version_asked_at < greatest(
             g.reachable_since, clock_timestamp() - case when g.version is null
               then interval '5 minutes' else interval '6 hours' end), true),
           -- One that is open is evidence that WhatsApp can be reached from there.
           -- Limited: an `exists` may be answered by reading the whole table once.
           'open_elsewhere', (
             select count(*) > 0
             from (select from seen s
                   where s.gateway_id = g.id and s.status = 'connected'
                   order by s.checked_at desc limit 1) o),
           -- As many as could count against all that this tick holds.
           'answered_elsewhere', (
             select count(*)
             from (select from seen s where s.gateway_id = g.id
                   order by s.checked_at desc limit h.instances + 1) o),
           'state', g.state,
           'state_version', g.state_version
         )), '[]')
  from held h
  join whatsapp_monitor.gateways g on g.id = h.gateway_id
$$;

-- ------------------------------------------------------------------------------------------------
-- After
-- ------------------------------------------------------------------------------------------------

-- Keeps what a tick learned of the gateways: only what is new, and never waiting for another tick
-- that writes the same. One time for both columns: a gateway that was asked when it came back was
-- not asked before it. A new memory counts where it was made from the present one, and then an
-- outage of the gateway begins or ends with it.
--
-- seen: [{url, version, capabilities, version_asked: boolean, clock_ahead_ms, reachable: boolean or
--        null, state_version, state, fault: {code, text} or null, down_since_ms, recovered_ms,
--        cooldown_until_ms}]; state_version and what follows it only where the memory has changed
create or replace function whatsapp_monitor.record_gateways(seen jsonb)
returns void
language plpgsql
set search_path = ''
as $$
declare
  v_opened bigint[];
  v_closed bigint[];
begin
  with learned as (
    select * from jsonb_to_recordset(seen)
      as s (url text, version text, capabilities jsonb, version_asked boolean,
            clock_ahead_ms bigint, reachable boolean, state_version bigint, state jsonb,
            fault jsonb, down_since_ms bigint, recovered_ms bigint, cooldown_until_ms bigint)
  ),
  free as (
    select g.id, l.*, coalesce(l.state_version = g.state_version, false) as changed
    from learned l
    join whatsapp_monitor.gateways g on g.url = l.url
    where l.version_asked or l.state_version = g.state_version
       or (l.reachable is not null and l.reachable is distinct from g.reachable)
    order by g.id
    for update of g skip locked
  ),
  closed as (
    update whatsapp_monitor.outages o
    set ended_at = greatest(o.started_at, coalesce(to_timestamp(f.recovered_ms / 1000.0),
                                                   statement_timestamp()))
    from free f
    where f.changed and f.down_since_ms is null and o.gateway_id = f.id and o.ended_at is null
    returning o.id
  ),
  opened as (
    insert into whatsapp_monitor.outages
      (gateway_id, started_at, confirmed_at, reason_code, reason_text)
    select f.id, to_timestamp(f.down_since_ms / 1000.0), statement_timestamp(),
           f.fault ->> 'code', f.fault ->> 'text'
    from free f
    where f.changed and f.down_since_ms is not null
    on conflict (gateway_id) where ended_at is null and gateway_id is not null do nothing
    returning id
  ),
  kept as (
    update whatsapp_monitor.gateways g
    set version          = coalesce(f.version, g.version),
        capabilities     = coalesce(f.capabilities, g.capabilities),
        version_asked_at = case when f.version_asked then statement_timestamp()
                                else g.version_asked_at end,
        clock_ahead_ms   = coalesce(f.clock_ahead_ms, g.clock_ahead_ms),
        reachable        = coalesce(f.reachable, g.reachable),
        reachable_since  = case when f.reachable is not null
                                     and f.reachable is distinct from g.reachable
                                then statement_timestamp() else g.reachable_since end,
        state            = case when f.changed then f.state else g.state end,
        state_version    = g.state_version + f.changed::integer,
        fault_code       = case when f.changed then f.fault ->> 'code' else g.fault_code end,
        fault_text       = case when f.changed then f.fault ->> 'text' else g.fault_text end,
        down_since       = case when f.changed then to_timestamp(f.down_since_ms / 1000.0)
                                else g.down_since end,
        cooldown_until   = case when f.changed then to_timestamp(f.cooldown_until_ms / 1000.0)
                                else g.cooldown_until end
    from free f
    where g.id = f.id
  )
  select (select array_agg(o.id) from opened o), (select array_agg(c.id) from closed c)
  into v_opened, v_closed;

  perform whatsapp_monitor.tell_of(v_opened, v_closed);
end
$$;
