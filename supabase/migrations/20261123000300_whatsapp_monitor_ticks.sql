-- WhatsApp connection monitor: the functions that a tick calls.
--
-- They live in public, where PostgREST finds them, take and return jsonb, and may be executed by
-- the service role alone. They store; what is to be done is decided by the caller.

-- ------------------------------------------------------------------------------------------------
-- Who is calling
-- ------------------------------------------------------------------------------------------------

-- Whether the caller of a request may do what it asks: the function vouches for those it knows by
-- itself, and hands on the SHA-256 digests (hex) of the tokens that others presented.
--
-- request: {caller: "token" | "environment" | "service_key" | "poll", token_digests: [hex]}
create or replace function whatsapp_monitor.may_call(request jsonb)
returns boolean
language plpgsql stable
set search_path = ''
as $$
begin
  case request ->> 'caller'
    when 'service_key', 'environment', 'poll' then
      return true;
    when 'token' then
      return exists (
        select from whatsapp_monitor.trigger_tokens t
        where t.digest in (
                select jsonb_array_elements_text(coalesce(request -> 'token_digests', '[]')))
          and (t.expires_at is null or t.expires_at > clock_timestamp()));
    else
      raise exception 'a known caller is required' using errcode = '22023';
  end case;
end
$$;

-- ------------------------------------------------------------------------------------------------
-- What there is to report
-- ------------------------------------------------------------------------------------------------

-- The instances that one organization names, or all where that is null; once for each organization.
create or replace function whatsapp_monitor.watched_by(of_organization text)
returns table (organization_id text, instance_id bigint)
language sql stable
set search_path = ''
as $$
  select distinct s.organization_id, s.instance_id
  from whatsapp_monitor.sources s
  join whatsapp_monitor.instances i on i.id = s.instance_id and i.removed_at is null
  where of_organization is null or s.organization_id = of_organization
$$;

-- Every instance of one organization, or of all where that is null, and how many of them are due.
create or replace function whatsapp_monitor.report(of_organization text)
returns jsonb
language sql stable
set search_path = ''
as $$
  with scope as (
    select w.organization_id, i.*
    from whatsapp_monitor.watched_by(of_organization) w
    join whatsapp_monitor.instances i on i.id = w.instance_id
  )
  select jsonb_build_object(
    'due', count(distinct i.id) filter (where i.due_at <= clock_timestamp()),
    'instances', coalesce(jsonb_agg(jsonb_build_object(
      'id', i.id,
      'organization_id', i.organization_id,
      'instance_name', i.name,
      'status', i.status,
      'since', i.status_since,
      'reason', case when i.reason_code is not null
                     then jsonb_build_object('code', i.reason_code, 'text', i.reason_text) end,
      'action', i.decision,
      'verdict', whatsapp_monitor.last_action(i.id) ->> 'verdict',
      'next_check_at', greatest(i.due_at + interval '5 seconds', clock_timestamp())
    ) order by i.organization_id, i.name, i.id), '[]'))
  from scope i
$$;

-- ------------------------------------------------------------------------------------------------
-- Begin
-- ------------------------------------------------------------------------------------------------

-- Whether an instance is due, of one organization or of all where that is null.
create or replace function whatsapp_monitor.is_due(of_organization text, at timestamptz)
returns boolean
language sql stable
set search_path = ''
as $$
  select exists (
    select from whatsapp_monitor.instances i
    where i.due_at <= at and i.removed_at is null
      and (of_organization is null or i.id in (
            select s.instance_id from whatsapp_monitor.sources s
            where s.organization_id = of_organization)))
$$;

-- The instances that this tick holds, with the credentials to ask for them.
create or replace function whatsapp_monitor.claimed_by(tick uuid)
returns jsonb
language sql stable
set search_path = ''
as $$
  with held as (
    select i.*, g.url as gateway_url
    from whatsapp_monitor.instances i
    join whatsapp_monitor.gateways g on g.id = i.gateway_id
    where i.lease_tick = tick and i.lease_until > clock_timestamp()
  ),
  ids (ids) as (
    select array_agg(id) from held
  )
  select coalesce(jsonb_agg(jsonb_build_object(
           'id', h.id,
           'organization_id', c.organization_id,
           'gateway_url', h.gateway_url,
           'name', h.name,
           'api_key', c.api_key,
           'fence', h.fence,
           'version', h.version,
           'state', h.state,
           'settled_ms', whatsapp_monitor.epoch_ms(h.settled_at),
           'attempts', coalesce(a.attempts, '[]'),
           'webhook', case when t.webhook_policy <> 'off' then w.claim || jsonb_build_object(
                             'own_url', nullif(btrim(c.webhook_url), ''),
                             'own_events', coalesce(c.webhook_events, '[]')) end
         ) order by h.due_before, h.checked_at nulls first, h.id), '[]')
  from held h
  join whatsapp_monitor.credentials((select ids from ids)) c on c.instance_id = h.id
  left join whatsapp_monitor.attempts_on((select ids from ids)) a on a.instance_id = h.id
  left join whatsapp_monitor.webhook_claims((select ids from ids)) w on w.instance_id = h.id
  cross join whatsapp_monitor.settings t
$$;

-- Begins a tick: checks who calls, claims up to batch_size instances that are due, oldest first,
-- and returns them with the settings and the time. Idempotent by tick_id: a repeated call returns
-- what the tick still holds.
--
-- request: {tick_id, run_id: the first tick of the same trigger, source,
--           caller and token_digests: as may_call takes them,
--           organization_id: text or null, report: boolean, follow_up: boolean,
--           function_url, environment_token_digest: hex or null}
-- answer:  {outcome: "accepted" | "unauthorized" | "unknown_organization", now, now_ms, settings,
--           claimed, instances, gateways, more_due, takes_settled: whether finish_tick does,
--           alerts_due, heartbeat_due, report: {due, instances}}; claimed is null in a repeated answer
create or replace function public.whatsapp_monitor_begin_tick(request jsonb)
returns jsonb
language plpgsql security definer
set search_path = ''
set timezone = 'UTC'
-- What a tick reads is in memory: some hundred rows of a table cost less than all of it.
set random_page_cost = 1
as $$
declare
  v_tick         uuid := request ->> 'tick_id';
  v_run          uuid := coalesce(request ->> 'run_id', request ->> 'tick_id');
  v_source       text := whatsapp_monitor.known_source(request ->> 'source');
  v_organization text := request ->> 'organization_id';
  v_settings     whatsapp_monitor.settings;
  v_now          timestamptz;
  v_lease        interval;
  v_claimed      integer;
begin
  if v_tick is null then
    raise exception 'tick_id is required' using errcode = '22023';
  end if;
  if not whatsapp_monitor.may_call(request) then
    return jsonb_build_object('outcome', 'unauthorized');
  end if;

  perform whatsapp_monitor.note_environment(request);
  perform whatsapp_monitor.note_function_url(request);
  perform whatsapp_monitor.clean_up_if_due();
  perform whatsapp_monitor.sync_sources_if_older(interval '1 minute');
  if v_organization is not null and not exists (
       select from whatsapp_monitor.sources s where s.organization_id = v_organization) then
    -- It may have been added just now.
    perform whatsapp_monitor.sync_sources_if_older(interval '5 seconds');
    if not exists (
         select from whatsapp_monitor.sources s where s.organization_id = v_organization) then
      return jsonb_build_object('outcome', 'unknown_organization');
    end if;
  end if;

  select * into strict v_settings from whatsapp_monitor.settings;
  v_now := clock_timestamp();
  -- Whatever the settings say, a lease covers the budget, one request, the write and a margin.
  v_lease := make_interval(secs => greatest(
    v_settings.lease_s, (v_settings.tick_budget_ms + v_settings.request_timeout_ms) / 1000 + 17));

  insert into whatsapp_monitor.ticks
    (id, run_id, source, caller, organization_id, follow_up, claimed, started_at, late_ms)
  values (v_tick, v_run, v_source, request ->> 'caller', v_organization,
          coalesce((request -> 'follow_up')::boolean, false), 0, v_now,
          case when v_run = v_tick
               then whatsapp_monitor.lateness(v_source, v_organization, v_now) end)
  on conflict (id) do nothing;
  if found then
    with due as (
      select i.id
      from whatsapp_monitor.instances i
      where i.due_at <= v_now and i.removed_at is null
        and (v_organization is null or i.id in (
              select s.instance_id from whatsapp_monitor.sources s
              where s.organization_id = v_organization))
      order by i.due_at, i.checked_at nulls first, i.id
      limit v_settings.batch_size
      for update skip locked
    )
    update whatsapp_monitor.instances i
    set claimed_at  = v_now,
        due_before  = i.due_at,
        -- Should the tick die, this is when it is due again.
        due_at      = v_now + v_lease,
        lease_until = v_now + v_lease,
        lease_tick  = v_tick,
        fence       = i.fence + 1
    from due
    where i.id = due.id;
    get diagnostics v_claimed = row_count;
    if v_settings.webhook_policy <> 'off' then
      insert into whatsapp_monitor.webhooks (instance_id)
      select i.id from whatsapp_monitor.instances i
      where i.lease_tick = v_tick
        and not exists (select from whatsapp_monitor.webhooks w where w.instance_id = i.id)
      on conflict do nothing;
    end if;
    update whatsapp_monitor.ticks
    set claimed = v_claimed,
        lease_until = v_now + v_lease,
        finished_at = case when v_claimed = 0 then v_now end,
        busy = case when v_claimed = 0
                    then whatsapp_monitor.is_busy(v_organization, v_now) else false end
    where id = v_tick;
  end if;

  return jsonb_build_object(
    'outcome', 'accepted',
    'now', v_now,
    'now_ms', whatsapp_monitor.epoch_ms(v_now),
    'settings', to_jsonb(v_settings)
                - array['only_row', 'alert_url', 'alert_secret', 'heartbeat_url', 'function_url',
                        'forward_to', 'public_organizations'],
    'claimed', v_claimed,
    'instances', whatsapp_monitor.claimed_by(v_tick),
    'gateways', whatsapp_monitor.gateways_of(v_tick),
    'receiver_url', case when v_settings.webhook_policy <> 'off'
                         then whatsapp_monitor.receiver_url() end,
    'more_due', v_claimed = v_settings.batch_size
                and whatsapp_monitor.is_due(v_organization, v_now),
    'takes_settled', true,
    'alerts_due', whatsapp_monitor.alerts_due(),
    'heartbeat_due', whatsapp_monitor.heartbeat_due(v_tick),
    'report', case when v_claimed = 0 and (request -> 'report')::boolean
                   then whatsapp_monitor.report(v_organization) end);
end
$$;

-- ------------------------------------------------------------------------------------------------
-- Finish
-- ------------------------------------------------------------------------------------------------

-- Writes results to their instances, each where the fence is the last one and the version is the one
-- that it was made from, and what was so far down in the history. A tick has checked: it is given what
-- it holds back. An event is no check: it brings the next one forward, and leaves the lease to
-- whoever holds it. Gives what was written.
create or replace function whatsapp_monitor.write_results(
  writer uuid, results jsonb, from_event boolean default false)
returns bigint[]
language plpgsql
set search_path = ''
as $$
declare
  v_interval interval;
  v_written  bigint[];
begin
  select make_interval(secs => t.interval_s) into strict v_interval
  from whatsapp_monitor.settings t;

  perform whatsapp_monitor.record_history(writer, results);

  with written as (
    update whatsapp_monitor.instances i
    set status       = r.status,
        status_since = to_timestamp(r.since_ms / 1000.0),
        is_down      = coalesce(r.is_down, false),
        reason_code  = r.reason ->> 'code',
        reason_text  = r.reason ->> 'text',
        phone_number        = coalesce(r.phone_number, i.phone_number),
        profile_name        = coalesce(r.profile_name, i.profile_name),
        profile_picture_url = coalesce(r.profile_picture_url, i.profile_picture_url),
        qr_code      = case when r.status = 'waiting_qr' then i.qr_code end,
        state        = r.state,
        settled_at   = null,
        version      = i.version + 1,
        -- What was concluded without asking comes first the next time.
        checked_at   = case when r.asked then to_timestamp(r.checked_ms / 1000.0)
                            else i.checked_at end,
        booked_at    = case when r.asked then to_timestamp(r.checked_ms / 1000.0)
                            else i.checked_at end,
        decision     = case when from_event then i.decision else r.decision end,
        checked_by   = case when from_event then i.checked_by else writer end,
        told_by      = case when from_event then writer else i.told_by end,
        due_at       = case when not from_event
                              then i.claimed_at + v_interval - interval '5 seconds'
                            when i.lease_tick is null then least(i.due_at, clock_timestamp())
                            else i.due_at end,
        lease_tick   = case when from_event then i.lease_tick end,
        lease_until  = case when from_event then i.lease_until end
    from jsonb_to_recordset(results)
      as r (id bigint, fence bigint, version bigint, status text, since_ms bigint, reason jsonb,
            state jsonb, checked_ms bigint, asked boolean, is_down boolean, phone_number text,
            profile_name text, profile_picture_url text, decision text)
    where i.id = r.id and i.fence = r.fence and i.version = r.version
      and (from_event or i.checked_by is distinct from writer)
    returning i.id
  )
  select coalesce(array_agg(id), '{}') into v_written from written;
  return v_written;
end
$$;

-- Writes that checks of this tick found nothing new to their instances, under the same conditions,
-- and releases these. How long they were connected is booked now and then. Where too long nobody
-- looked there is something new as a rule, but an event may have told of an open one just before: what
-- lies before that is unknown all the same. Gives what was written.
create or replace function whatsapp_monitor.settle(tick uuid, settled jsonb)
returns bigint[]
language plpgsql
set search_path = ''
as $$
declare
  v_interval interval;
  v_written  bigint[];
begin
  select make_interval(secs => t.interval_s) into strict v_interval
  from whatsapp_monitor.settings t;

  with checks as (
    select i.id, s.at, i.checked_at, g.is_gap, coalesce(i.booked_at, i.checked_at) as booked_at,
           g.is_gap or s.at - coalesce(i.booked_at, i.checked_at) >= interval '10 minutes' as is_booked
    from (select r.*, to_timestamp(r.checked_ms / 1000.0) as at
          from jsonb_to_recordset(settled)
            as r (id bigint, fence bigint, version bigint, checked_ms bigint)) s
    join whatsapp_monitor.instances i on i.id = s.id
    cross join lateral (select s.at - i.checked_at > 3 * v_interval as is_gap) g
    where i.fence = s.fence and i.version = s.version and i.checked_by is distinct from tick
      -- Where somebody edited it, it is stale: the caller writes all of it, which mends it.
      and i.status = 'connected'
  ),
  written as (
    update whatsapp_monitor.instances i
    set settled_at  = c.at,
        checked_at  = c.at,
        booked_at   = case when c.is_booked then c.at else c.booked_at end,
        checked_by  = tick,
        decision    = 'none',
        version     = i.version + 1,
        due_at      = i.claimed_at + v_interval - interval '5 seconds',
        lease_tick  = null,
        lease_until = null
    from checks c
    where i.id = c.id
    returning i.id
  ),
  booked as (
    select whatsapp_monitor.book(jsonb_agg(to_jsonb(t)))
    from (select c.id, 'connected' as kind, c.booked_at as since,
                 case when c.is_gap then c.checked_at else c.at end as until
          from checks c
          where c.is_booked
          union all
          select c.id, 'unknown', c.checked_at, c.at from checks c where c.is_gap) t
  )
  select (select coalesce(array_agg(id), '{}') from written) into v_written from booked;
  return v_written;
end
$$;

-- Writes what a tick found, releases what it holds, and closes it.
--
-- A result is written where the tick's fence is the last one and the version is the one that the
-- caller started from. Where somebody else has written meanwhile, the row comes back as "stale":
-- the caller applies its own observation to it and calls again. Where somebody else has claimed
-- meanwhile, the result is "lost": that tick sees for itself. Idempotent: what this tick has
-- written already stays as it is.
--
-- What was written is told to the user's tables at once. Once all of it is written, the tick claims
-- up to max_alerts alerts, and the sign of life: to send them is the caller's business, beside its
-- work.
--
-- request: {tick_id, organization_id, report: boolean,
--           results: [{id, fence, version, status, since_ms, reason: {code, text} or null,
--                      is_down: boolean, down_since_ms, recovered_ms, phone_number, profile_name,
--                      profile_picture_url, state, checked_ms, asked: boolean, decision,
--                      ack: what the gateway said to the action of this tick or null,
--                      verdicts: [{action_id, verdict}]}],
--           settled: [{id, fence, version, checked_ms}], which are checks that found nothing new,
--           carried_over: [{id, fence}],
--           gateways: as record_gateways takes them, max_alerts, heartbeat: boolean}
--           of the profile, null is what is not known now
-- answer:  {written: [id], stale: [{id, version, state, settled_ms}], lost: [id], report,
--           alerts: null, {error: SQLSTATE}, or {url, secret, now_ms, alerts: [{id, kind: "down" |
--           "up", attempts, organization_id, instance_name, gateway_url, since_ms, until_ms,
--           reason: {code, text} or null}]},
--           heartbeat: null, {error: SQLSTATE}, or {url}}
create or replace function public.whatsapp_monitor_finish_tick(request jsonb)
returns jsonb
language plpgsql security definer
set search_path = ''
set timezone = 'UTC'
-- What a tick reads is in memory: some hundred rows of a table cost less than all of it.
set random_page_cost = 1
as $$
declare
  v_tick       uuid     := request ->> 'tick_id';
  v_results    jsonb    := coalesce(request -> 'results', '[]');
  v_settled    jsonb    := coalesce(request -> 'settled', '[]');
  v_over       jsonb    := coalesce(request -> 'carried_over', '[]');
  v_new        bigint[];
  v_unchanged  bigint[];
  v_written    jsonb;
  v_stale      jsonb;
  v_lost       jsonb;
  v_alerts     jsonb;
  v_heartbeat  jsonb;
begin
  if v_tick is null then
    raise exception 'tick_id is required' using errcode = '22023';
  end if;
  -- Always in the same order, so that two ticks never wait for each other.
  perform from whatsapp_monitor.instances i
  where i.id in (select (r ->> 'id')::bigint
                 from jsonb_array_elements(v_results || v_settled || v_over) r)
  order by i.id
  for update;

  update whatsapp_monitor.instances i
  set due_at = i.due_before, lease_tick = null, lease_until = null
  from jsonb_to_recordset(v_over) as c (id bigint, fence bigint)
  where i.id = c.id and i.fence = c.fence and i.lease_tick = v_tick;

  v_new := whatsapp_monitor.write_results(v_tick, v_results);
  v_unchanged := whatsapp_monitor.settle(v_tick, v_settled);

  select coalesce(jsonb_agg(i.id) filter (where i.checked_by = v_tick), '[]'),
         coalesce(jsonb_agg(jsonb_build_object(
                    'id', i.id, 'version', i.version, 'state', i.state,
                    'settled_ms', whatsapp_monitor.epoch_ms(i.settled_at)))
                  filter (where i.checked_by is distinct from v_tick and i.fence = r.fence), '[]'),
         coalesce(jsonb_agg(i.id)
                  filter (where i.checked_by is distinct from v_tick and i.fence <> r.fence), '[]')
  into v_written, v_stale, v_lost
  from jsonb_to_recordset(v_results || v_settled) as r (id bigint, fence bigint)
  join whatsapp_monitor.instances i on i.id = r.id;

  perform whatsapp_monitor.record_verdicts(v_tick, v_results);

  perform whatsapp_monitor.record_webhooks(v_tick, v_results);

  perform whatsapp_monitor.record_gateways(coalesce(request -> 'gateways', '[]'));

  update whatsapp_monitor.ticks
  set checked = checked + cardinality(v_new) + cardinality(v_unchanged),
      finished_at = case when v_stale = '[]' then clock_timestamp() else finished_at end
  where id = v_tick;

  perform whatsapp_monitor.write_back(v_new || v_unchanged);

  if v_stale = '[]' and (request ->> 'max_alerts')::integer > 0 then
    begin
      v_alerts := whatsapp_monitor.claim_alerts(v_tick, (request ->> 'max_alerts')::integer);
    exception when others then
      v_alerts := jsonb_build_object('error', sqlstate);
    end;
  end if;
  if v_stale = '[]' and (request -> 'heartbeat')::boolean then
    begin
      v_heartbeat := whatsapp_monitor.claim_heartbeat(v_tick);
    exception when others then
      v_heartbeat := jsonb_build_object('error', sqlstate);
    end;
  end if;

  return jsonb_build_object(
    'written', v_written, 'stale', v_stale, 'lost', v_lost, 'alerts', v_alerts,
    'heartbeat', v_heartbeat,
    'report', case when (request -> 'report')::boolean
                   then whatsapp_monitor.report(request ->> 'organization_id') end);
end
$$;

-- ------------------------------------------------------------------------------------------------
-- A changed interval counts from now on
-- ------------------------------------------------------------------------------------------------

-- Brings due_at, which finish_tick computes ahead, in line with a new interval. What was carried over
-- was not checked at its last claim, and stays due.
create or replace function whatsapp_monitor.apply_interval()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  update whatsapp_monitor.instances i
  set due_at = i.claimed_at + make_interval(secs => new.interval_s - 5)
  where i.lease_tick is null and i.due_at > i.claimed_at;
  return null;
end
$$;

create or replace trigger settings_interval
  after update of interval_s on whatsapp_monitor.settings
  for each row when (old.interval_s is distinct from new.interval_s)
  execute function whatsapp_monitor.apply_interval();
