-- WhatsApp connection monitor: what was, for people.
--
-- A row per change, a row per outage, a row per instance and day. No row per check.

-- ------------------------------------------------------------------------------------------------
-- Tables
-- ------------------------------------------------------------------------------------------------

create table if not exists whatsapp_monitor.status_changes (
  id          bigint generated always as identity primary key,
  instance_id bigint not null references whatsapp_monitor.instances,
  at          timestamptz not null,
  from_status text not null,
  to_status   text not null,
  reason_code text,
  reason_text text
);
comment on table whatsapp_monitor.status_changes is 'Each change of an instance''s status, with its reason.';

create index if not exists status_changes_instance
  on whatsapp_monitor.status_changes (instance_id, at);
create index if not exists status_changes_at on whatsapp_monitor.status_changes (at);

create table if not exists whatsapp_monitor.outages (
  id           bigint generated always as identity primary key,
  instance_id  bigint not null references whatsapp_monitor.instances,
  started_at   timestamptz not null,
  confirmed_at timestamptz not null,
  ended_at     timestamptz check (ended_at >= started_at),
  duration     interval generated always as (ended_at - started_at) stored,
  reason_code  text,
  reason_text  text
);
comment on table whatsapp_monitor.outages is
  'One row per outage, of an instance or of a whole gateway: from its first bad check to the first good one. ended_at is null while it goes on.';

alter table whatsapp_monitor.outages
  add column if not exists actions jsonb;
comment on column whatsapp_monitor.outages.actions is
  'What was done during it, and what came of each: [{action, grounds, at, verdict}].';

alter table whatsapp_monitor.outages
  add column if not exists left_watch boolean not null default false;
comment on column whatsapp_monitor.outages.left_watch is
  'Whether it ended because nobody names the instance any more, or any instance of the gateway: nobody knows whether it came back.';

-- A gateway has outages too: one for all its instances, which have none of their own meanwhile.
alter table whatsapp_monitor.outages
  add column if not exists gateway_id bigint references whatsapp_monitor.gateways,
  alter column instance_id drop not null;
do $$
begin
  if not exists (
    select from pg_constraint
    where conrelid = 'whatsapp_monitor.outages'::regclass
      and conname = 'outages_of_one_thing') then
    alter table whatsapp_monitor.outages
      add constraint outages_of_one_thing check (num_nonnulls(instance_id, gateway_id) = 1);
  end if;
end
$$;
create unique index if not exists outages_one_open_of_gateway
  on whatsapp_monitor.outages (gateway_id) where ended_at is null and gateway_id is not null;

create unique index if not exists outages_one_open
  on whatsapp_monitor.outages (instance_id) where ended_at is null;
create index if not exists outages_instance on whatsapp_monitor.outages (instance_id, started_at);
create index if not exists outages_ended on whatsapp_monitor.outages (ended_at);

create table if not exists whatsapp_monitor.days (
  instance_id     bigint not null references whatsapp_monitor.instances,
  day             date not null,
  connected_s     double precision not null default 0,
  not_connected_s double precision not null default 0,
  unknown_s       double precision not null default 0,
  primary key (instance_id, day)
);
comment on table whatsapp_monitor.days is
  'How long an instance was connected, not connected, and unknown, per day (UTC). Time in which nobody looked is unknown. While nothing changes, the time is added every 10 minutes.';

create index if not exists days_day on whatsapp_monitor.days (day);

-- ------------------------------------------------------------------------------------------------
-- Writing it down
-- ------------------------------------------------------------------------------------------------

-- What time counts as in which an instance had this status.
create or replace function whatsapp_monitor.kind_of_time(status text)
returns text
language sql immutable parallel safe
set search_path = ''
as $$
  select case
    when status = 'connected' then 'connected'
    when status in ('unknown', 'gateway_unreachable', 'misconfigured') then 'unknown'
    else 'not_connected'
  end
$$;

-- Adds spans of time, [{id: the instance's number, kind: "connected" | "not_connected" | "unknown",
-- since, until}], to their days.
create or replace function whatsapp_monitor.book(spans jsonb)
returns void
language sql
set search_path = ''
set timezone = 'UTC'
as $$
  with by_day as (
    select s.id, s.kind, d.day::date as day,
           extract(epoch from least(s.until, d.day + interval '1 day') - greatest(s.since, d.day))
             as seconds
    from jsonb_to_recordset(spans) as s (id bigint, kind text, since timestamptz, until timestamptz)
    cross join lateral generate_series(
      date_trunc('day', s.since, 'UTC'), s.until, interval '1 day') as d (day)
  )
  insert into whatsapp_monitor.days as d
    (instance_id, day, connected_s, not_connected_s, unknown_s)
  select b.id, b.day,
         coalesce(sum(b.seconds) filter (where b.kind = 'connected'), 0),
         coalesce(sum(b.seconds) filter (where b.kind = 'not_connected'), 0),
         coalesce(sum(b.seconds) filter (where b.kind = 'unknown'), 0)
  from by_day b
  where b.seconds > 0
  group by b.id, b.day
  order by b.id, b.day
  on conflict (instance_id, day) do update
  set connected_s     = d.connected_s     + excluded.connected_s,
      not_connected_s = d.not_connected_s + excluded.not_connected_s,
      unknown_s       = d.unknown_s       + excluded.unknown_s
$$;

-- Writes down what finish_tick is about to store. Called with its results, before the instances are
-- changed, for those alone that will be: what they were so far is still in their rows.
create or replace function whatsapp_monitor.record_history(tick uuid, results jsonb)
returns void
language plpgsql
set search_path = ''
set timezone = 'UTC'
as $$
declare
  v_gap    interval;
  v_opened bigint[];
  v_closed bigint[];
  v_spans  jsonb;
begin
  -- A longer time between two checks is time in which nobody looked.
  select make_interval(secs => 3 * t.interval_s) into strict v_gap from whatsapp_monitor.settings t;

  with timed as (
    select r.id, r.status, r.reason, r.down_since_ms, r.recovered_ms, r.asked,
           to_timestamp(r.checked_ms / 1000.0) as at, i.status as was, i.checked_at, i.booked_at,
           i.removed_at
    from jsonb_to_recordset(results) as r
      (id bigint, fence bigint, version bigint, status text, reason jsonb, checked_ms bigint,
       down_since_ms bigint, recovered_ms bigint, asked boolean)
    join whatsapp_monitor.instances i on i.id = r.id
    where i.fence = r.fence and i.version = r.version and i.checked_by is distinct from tick
  ),
  changes as (
    insert into whatsapp_monitor.status_changes
      (instance_id, at, from_status, to_status, reason_code, reason_text)
    select t.id, t.at, t.was, t.status, t.reason ->> 'code', t.reason ->> 'text'
    from timed t
    where t.was <> t.status
  ),
  closed as (
    update whatsapp_monitor.outages o
    set ended_at = greatest(o.started_at, coalesce(to_timestamp(t.recovered_ms / 1000.0), t.at))
    from timed t
    where o.instance_id = t.id and o.ended_at is null and t.down_since_ms is null
    returning o.id
  ),
  explained as (
    -- Why is often known only after the drop; what it was first is the cause, the rest follows it.
    update whatsapp_monitor.outages o
    set reason_code = t.reason ->> 'code', reason_text = t.reason ->> 'text'
    from timed t
    where o.instance_id = t.id and o.ended_at is null and t.down_since_ms is not null
      and t.status in ('waiting_qr', 'blocked', 'zombie')
      and o.reason_code is null
  ),
  opened as (
    insert into whatsapp_monitor.outages
      (instance_id, started_at, confirmed_at, reason_code, reason_text)
    select t.id, to_timestamp(t.down_since_ms / 1000.0), t.at,
           t.reason ->> 'code', t.reason ->> 'text'
    from timed t
    where t.down_since_ms is not null and t.removed_at is null
    on conflict (instance_id) where ended_at is null do nothing
    returning id
  ),
  -- The time since the last check belongs to what the instance was found to be then, and so does
  -- what is not booked so far: only checks that found nothing new lie in it. What is concluded
  -- without asking is no check: checked_at stays, and the next one counts all the time.
  spans as (
    select t.id, whatsapp_monitor.kind_of_time(t.was) as kind, t.booked_at as since,
           t.checked_at as until
    from timed t
    where t.booked_at < t.checked_at
    union all
    select t.id,
           case when t.at - t.checked_at > v_gap then 'unknown'
                else whatsapp_monitor.kind_of_time(t.was) end,
           t.checked_at, t.at
    from timed t
    where t.asked and t.checked_at < t.at
  )
  select (select array_agg(o.id) from opened o), (select array_agg(c.id) from closed c),
         (select jsonb_agg(to_jsonb(s)) from spans s)
  into v_opened, v_closed, v_spans;

  perform whatsapp_monitor.book(v_spans);

  perform whatsapp_monitor.tell_of(v_opened, v_closed);
end
$$;

-- ------------------------------------------------------------------------------------------------
-- Forgetting it
-- ------------------------------------------------------------------------------------------------

-- Removes what is older than the settings keep, some thousand rows of each kind at a time. An outage
-- that goes on is kept however old it is. Answers whether there may be more.
drop function if exists whatsapp_monitor.clean_up();
create or replace function whatsapp_monitor.clean_up()
returns boolean
language plpgsql
set search_path = ''
set timezone = 'UTC'
as $$
declare
  c_batch   constant integer := 5000;
  v_history timestamptz;
  v_ledger  timestamptz;
  v_message timestamptz;
  v_kind    record;
  v_count   integer;
  v_more    boolean := false;
begin
  select clock_timestamp() - make_interval(days => t.history_days),
         clock_timestamp() - make_interval(days => t.ledger_days),
         clock_timestamp() - make_interval(days => t.message_days)
  into strict v_history, v_ledger, v_message
  from whatsapp_monitor.settings t;

  for v_kind in
    select * from (values
      ('status_changes', 't.at < $1',             v_history, c_batch),
      ('outages',        't.ended_at < $1',       v_history, c_batch),
      ('days',           't.day < $1::date',      v_history, c_batch),
      ('actions',        't.granted_at < $1',     v_ledger,  c_batch),
      ('ticks',          't.started_at < $1 and not exists (
                            select from whatsapp_monitor.actions a where a.tick_id = t.id)',
                                                  v_ledger,  c_batch),
      ('refusals',       't.minute < $1',         v_ledger,  c_batch),
      ('polls',          't.checked_at < $1',     v_ledger,  c_batch),
      -- Of these there may be more in an hour.
      ('messages',       't.received_at < $1',    v_message, 10 * c_batch)
    ) as k (name, is_old, until, batch)
  loop
    execute format($query$
      delete from whatsapp_monitor.%1$I d
      where d.ctid = any (array(select t.ctid from whatsapp_monitor.%1$I t where %2$s limit $2))
    $query$, v_kind.name, v_kind.is_old) using v_kind.until, v_kind.batch;
    get diagnostics v_count = row_count;
    v_more := v_more or v_count = v_kind.batch;
  end loop;
  return v_more;
end
$$;

-- Cleans up once an hour, by whoever comes first, and every minute while more is left: a hundred thousand
-- instances leave as many days a day, and ten times as many ticks. It spoils nothing when it fails.
create or replace function whatsapp_monitor.clean_up_if_due()
returns void
language plpgsql
set search_path = ''
as $$
declare
  v_more  boolean := false;
  v_error text;
begin
  perform from whatsapp_monitor.housekeeping
  where cleaned_at <= clock_timestamp() - case when more then interval '1 minute'
                                               else interval '1 hour' end
  for update skip locked;
  if not found then
    return;
  end if;
  begin
    v_more := whatsapp_monitor.clean_up();
  exception when others then
    v_error := sqlerrm;
  end;
  update whatsapp_monitor.housekeeping
  set cleaned_at = clock_timestamp(), more = v_more, error = v_error;
end
$$;
