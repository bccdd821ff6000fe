-- WhatsApp connection monitor: telling somebody, through an outbox.
--
-- An alert is written down with the outage that it is about, in one transaction, and sent by whichever
-- tick claims it. The caller writes the message, sends it, and says what came of it.

-- ------------------------------------------------------------------------------------------------
-- Settings
-- ------------------------------------------------------------------------------------------------

alter table whatsapp_monitor.settings
  add column if not exists alert_url text
    check (alert_url ~* '^https?://[^[:space:]]+$' and length(alert_url) <= 2048),
  -- Three random UUIDs have 366 random bits, more than the 256 that come out.
  add column if not exists alert_secret text not null
    default 'whsec_' || encode(sha256(convert_to(
      gen_random_uuid()::text || gen_random_uuid() || gen_random_uuid(), 'UTF8')), 'base64')
    check (alert_secret ~ '^whsec_([A-Za-z0-9+/]{4}){8,21}([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$');

comment on column whatsapp_monitor.settings.alert_url is
  'Where each outage is told of when it begins and when it is over, by a POST of JSON with a text that Slack, Mattermost and, with /slack at the end of the URL, Discord show. Null: nobody is told.';
comment on column whatsapp_monitor.settings.alert_secret is
  'Signs what is sent to alert_url (Standard Webhooks): whsec_ and the key in base64. Made by the migration; keep it to yourself.';

-- ------------------------------------------------------------------------------------------------
-- The outbox
-- ------------------------------------------------------------------------------------------------

create table if not exists whatsapp_monitor.alerts (
  id         uuid primary key default gen_random_uuid(),
  outage_id  bigint not null references whatsapp_monitor.outages on delete cascade,
  kind       text not null check (kind in ('down', 'up')),
  created_at timestamptz not null default clock_timestamp(),
  attempts   integer not null default 0,
  -- Pending, sent or given up.
  due_at     timestamptz default clock_timestamp(),
  sent_at    timestamptz,
  gave_up_at timestamptz,
  held_by    uuid,
  error      text,
  unique (outage_id, kind),
  check (num_nonnulls(due_at, sent_at, gave_up_at) = 1)
);
comment on table whatsapp_monitor.alerts is
  'What alert_url is told: that an outage began (down), that it is over (up). sent_at is set after an answer 2xx, gave_up_at when it is not tried any more; error is what went wrong last. Goes with its outage.';
comment on column whatsapp_monitor.alerts.due_at is
  'When it is tried next. A tick that claims it moves this to the end of its lease, so that it is due again should the tick die.';
comment on column whatsapp_monitor.alerts.held_by is
  'The tick that claimed it and has not said yet what came of it.';

create index if not exists alerts_due on whatsapp_monitor.alerts (due_at) where due_at is not null;

-- Writes down what is to be told of the outages that have begun and of those that are over; of an end,
-- only to those who are told of the beginning.
create or replace function whatsapp_monitor.tell_of(began bigint[], ended bigint[])
returns void
language sql
set search_path = ''
as $$
  insert into whatsapp_monitor.alerts (outage_id, kind)
  select n.outage_id, n.kind
  from (
    select unnest(began), 'down'
    union all
    select d.outage_id, 'up' from whatsapp_monitor.alerts d
    where d.outage_id = any (ended) and d.kind = 'down' and d.gave_up_at is null
  ) n (outage_id, kind)
  where exists (select from whatsapp_monitor.settings t where t.alert_url is not null)
  on conflict do nothing
$$;

-- ------------------------------------------------------------------------------------------------
-- Claiming
-- ------------------------------------------------------------------------------------------------

-- Whether somebody knows what an alert is about: a "back" makes sense to those alone who were told of
-- the "down".
create or replace function whatsapp_monitor.may_be_told(outage bigint, kind text)
returns boolean
language sql stable
set search_path = ''
as $$
  select may_be_told.kind = 'down' or exists (
    select from whatsapp_monitor.alerts d
    where d.outage_id = outage and d.kind = 'down' and d.sent_at is not null)
$$;

-- Whether there is something to claim.
create or replace function whatsapp_monitor.alerts_due()
returns boolean
language sql stable
set search_path = ''
as $$
  select exists (select from whatsapp_monitor.settings t where t.alert_url is not null)
     and exists (
       select from whatsapp_monitor.alerts a
       where a.due_at <= clock_timestamp() and whatsapp_monitor.may_be_told(a.outage_id, a.kind))
$$;

-- Claims what is due, oldest first, and gives all that the tick holds, with where it goes and what
-- signs it; null where that is nothing.
create or replace function whatsapp_monitor.claim_alerts(tick uuid, at_most integer)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  v_settings whatsapp_monitor.settings;
  v_now      timestamptz := clock_timestamp();
  v_held     integer;
begin
  select * into strict v_settings from whatsapp_monitor.settings;

  -- What nobody waits for any more.
  with idle as (
    select a.id
    from whatsapp_monitor.alerts a
    where a.due_at is not null
      and (v_settings.alert_url is null
           or exists (select from whatsapp_monitor.outages o
                      where o.id = a.outage_id and o.left_watch)
           or a.kind = 'up' and exists (
             select from whatsapp_monitor.alerts d
             where d.outage_id = a.outage_id and d.kind = 'down' and d.gave_up_at is not null))
    order by a.id
    for update skip locked
  )
  update whatsapp_monitor.alerts a
  set due_at = null, held_by = null, gave_up_at = v_now, error = coalesce(a.error, 'not_wanted')
  from idle
  where a.id = idle.id;

  if v_settings.alert_url is null then
    return null;
  end if;

  select count(*) into v_held
  from whatsapp_monitor.alerts a
  where a.held_by = tick and a.due_at > v_now;

  with due as (
    select a.id
    from whatsapp_monitor.alerts a
    where a.due_at <= v_now and whatsapp_monitor.may_be_told(a.outage_id, a.kind)
    order by a.due_at, a.id
    limit greatest(at_most - v_held, 0)
    for update skip locked
  )
  update whatsapp_monitor.alerts a
  -- The rest of this call with its repetitions, one request, and saying what came of it.
  set due_at  = v_now + make_interval(secs => v_settings.request_timeout_ms / 1000.0 + 30),
      held_by = tick
  from due
  where a.id = due.id;

  return (
    select jsonb_build_object(
             'url', v_settings.alert_url,
             'secret', v_settings.alert_secret,
             'now_ms', whatsapp_monitor.epoch_ms(clock_timestamp()),
             'alerts', jsonb_agg(jsonb_build_object(
               'id', a.id,
               'kind', a.kind,
               'attempts', a.attempts,
               'organization_id', (
                 select s.organization_id from whatsapp_monitor.sources s
                 where s.instance_id = i.id
                 order by s.created_at, s.source_table, s.source_id
                 limit 1),
               'instance_name', i.name,
               'gateway_url', g.url,
               'affected', case when o.gateway_id is not null then (
                 select count(*) from whatsapp_monitor.instances n
                 where n.gateway_id = g.id and n.removed_at is null) end,
               'since_ms', whatsapp_monitor.epoch_ms(o.started_at),
               'until_ms', case when a.kind = 'up' then whatsapp_monitor.epoch_ms(o.ended_at) end,
               'reason', case when o.reason_code is not null
                              then jsonb_build_object('code', o.reason_code, 'text', o.reason_text) end
             ) order by o.confirmed_at, a.id))
    from whatsapp_monitor.alerts a
    join whatsapp_monitor.outages o on o.id = a.outage_id
    left join whatsapp_monitor.instances i on i.id = o.instance_id
    join whatsapp_monitor.gateways g on g.id = coalesce(o.gateway_id, i.gateway_id)
    where a.held_by = tick and a.due_at > v_now
    having count(*) > 0);
end
$$;

-- ------------------------------------------------------------------------------------------------
-- What came of it
-- ------------------------------------------------------------------------------------------------

-- Writes down what came of the alerts that a tick held: delivered, to be tried again after so many
-- seconds, or given up where that is null. A delivery counts whoever holds the alert by now; of
-- everything else only the holder has a say. Idempotent.
--
-- request: {tick_id, alerts: [{id, delivered: boolean, attempts, error: text or null,
--           retry_in_s: number or null}]}
-- answer:  {settled: [id]}
create or replace function public.whatsapp_monitor_settle_alerts(request jsonb)
returns jsonb
language plpgsql security definer
set search_path = ''
as $$
declare
  v_tick    uuid        := request ->> 'tick_id';
  v_now     timestamptz := clock_timestamp();
  v_settled jsonb;
begin
  if v_tick is null then
    raise exception 'tick_id is required' using errcode = '22023';
  end if;

  -- Always in the same order, so that two ticks never wait for each other.
  perform from whatsapp_monitor.alerts a
  where a.id in (select (r ->> 'id')::uuid from jsonb_array_elements(request -> 'alerts') r)
  order by a.id
  for update;

  with settled as (
    update whatsapp_monitor.alerts a
    set attempts   = r.attempts,
        error      = r.error,
        held_by    = null,
        sent_at    = case when r.delivered then v_now end,
        due_at     = case when not r.delivered
                          then v_now + make_interval(secs => r.retry_in_s) end,
        gave_up_at = case when not r.delivered and r.retry_in_s is null then v_now end
    from jsonb_to_recordset(request -> 'alerts')
      as r (id uuid, delivered boolean, attempts integer, error text, retry_in_s double precision)
    where a.id = r.id and a.sent_at is null and (r.delivered or a.held_by = v_tick)
    returning a.id
  )
  select coalesce(jsonb_agg(s.id), '[]') into v_settled from settled s;
  return jsonb_build_object('settled', v_settled);
end
$$;
