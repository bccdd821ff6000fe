-- WhatsApp connection monitor: the ledger. Who triggers, when, how late, and what came of it.
--
-- A trigger is the first tick of its run: the ledger is what the ticks leave behind, and nothing is
-- written twice. Refused triggers begin no tick, so they are counted apart.

-- ------------------------------------------------------------------------------------------------
-- Who triggers
-- ------------------------------------------------------------------------------------------------

-- The name of a source where it is on the list; whatever else comes is "other".
create or replace function whatsapp_monitor.known_source(name text)
returns text
language sql immutable
set search_path = ''
as $$
  select case when name in ('pg_cron', 'cron_job_org', 'uptimerobot', 'easycron', 'poll', 'webhook',
                            'person')
              then name else 'other' end
$$;

-- ------------------------------------------------------------------------------------------------
-- Accepted
-- ------------------------------------------------------------------------------------------------

alter table whatsapp_monitor.ticks
  add column if not exists run_id      uuid,
  add column if not exists source      text not null default 'other'
    check (source = whatsapp_monitor.known_source(source)),
  add column if not exists late_ms     bigint check (late_ms >= 0),
  add column if not exists follow_up   boolean not null default false,
  add column if not exists busy        boolean not null default false,
  add column if not exists checked     integer not null default 0,
  add column if not exists lease_until timestamptz;
comment on column whatsapp_monitor.ticks.run_id is
  'The first tick of the same trigger; of a first one, its own id.';
comment on column whatsapp_monitor.ticks.source is
  'Who triggered, by what they sent.';
comment on column whatsapp_monitor.ticks.late_ms is
  'Of a first tick, how much later than interval_s after the one before of the same source; null where there was none, and for those that come without a schedule.';
comment on column whatsapp_monitor.ticks.follow_up is
  'Whether no call brought it: a later sweep of one that asked for several (every, for).';
comment on column whatsapp_monitor.ticks.busy is
  'Whether it found nothing to claim because others held what was due.';
comment on column whatsapp_monitor.ticks.checked is
  'Instances whose result it has written.';
comment on column whatsapp_monitor.ticks.lease_until is
  'Until when it holds what it claimed; unfinished after that, it is dead.';

create index if not exists ticks_run on whatsapp_monitor.ticks (run_id);
create index if not exists ticks_triggers
  on whatsapp_monitor.ticks (source, coalesce(organization_id, ''), started_at)
  where run_id = id;

-- How late a trigger is that comes now. Each organization that has triggers of its own has a schedule
-- of its own.
create or replace function whatsapp_monitor.lateness(
  of_source text, of_organization text, moment timestamptz)
returns bigint
language sql stable
set search_path = ''
as $$
  select greatest(0, whatsapp_monitor.epoch_ms(moment) - whatsapp_monitor.epoch_ms(l.started_at)
                     - s.interval_s * 1000)
  from whatsapp_monitor.settings s
  cross join lateral (
    select t.started_at from whatsapp_monitor.ticks t
    where t.run_id = t.id and t.source = of_source
      and coalesce(t.organization_id, '') = coalesce(of_organization, '')
    order by t.started_at desc
    limit 1
  ) l
  where of_source not in ('poll', 'webhook', 'person')
$$;

-- Whether others hold, or are just claiming, something that one organization (any, where that is
-- null) waits for. Written so that it looks at few rows, whatever the planner knows.
create or replace function whatsapp_monitor.is_busy(of_organization text, moment timestamptz)
returns boolean
language sql stable
set search_path = ''
as $$
  select case when of_organization is null then
    exists (
      select from whatsapp_monitor.instances i
      where i.lease_tick is not null and i.lease_until > moment and i.removed_at is null)
    or coalesce((
      select min(i.due_at) from whatsapp_monitor.instances i
      where i.removed_at is null) <= moment, false)
  else
    exists (
      select from whatsapp_monitor.sources s
      join whatsapp_monitor.instances i on i.id = s.instance_id
      where s.organization_id = of_organization and i.removed_at is null
        and (i.lease_until > moment or i.due_at <= moment))
  end
$$;

-- A run that never committed shows by itself: nobody is left who could write that it died.
create or replace view whatsapp_monitor.triggers as
select t.started_at as at,
       t.source,
       t.late_ms,
       case when r.dead             then 'died'
            when r.working          then 'working'
            when r.claimed > 0      then 'committed'
            when t.busy             then 'busy'
            else                         'nothing_due' end as outcome,
       r.claimed,
       r.checked,
       r.ticks,
       r.finished_at,
       t.caller,
       t.organization_id,
       t.id as tick_id,
       t.follow_up
from whatsapp_monitor.ticks t
cross join lateral (
  select count(*)                  as ticks,
         sum(k.claimed)            as claimed,
         sum(k.checked)            as checked,
         max(k.finished_at)        as finished_at,
         bool_or(k.finished_at is null and k.lease_until <= clock_timestamp()) as dead,
         bool_or(k.finished_at is null) as working
  from whatsapp_monitor.ticks k
  where k.run_id = t.id
) r
where t.run_id = t.id;
comment on view whatsapp_monitor.triggers is
  'One row per accepted trigger. outcome: working; committed; nothing_due; busy, where others held what was due; died, where a tick of it never committed. claimed and checked count the instances of all its ticks. follow_up: nobody called again for it.';

-- ------------------------------------------------------------------------------------------------
-- Refused
-- ------------------------------------------------------------------------------------------------

create table if not exists whatsapp_monitor.refusals (
  minute timestamptz not null,
  source text not null check (source = whatsapp_monitor.known_source(source)),
  why    text not null check (why in ('no_token', 'bad_token', 'unknown_organization')),
  count  bigint not null check (count > 0),
  primary key (minute, source, why)
);
comment on table whatsapp_monitor.refusals is
  'Triggers that were refused, per minute and source. why: no_token, nothing that could open a door; bad_token, one that is not in force; unknown_organization.';

-- Adds up what isolates have refused. They call once a minute, however many strangers knock.
--
-- request: {refusals: [{source, why, count, ago_ms}]}
-- answer:  {recorded: rows}
create or replace function public.whatsapp_monitor_record_refusals(request jsonb)
returns jsonb
language plpgsql security definer
set search_path = ''
set timezone = 'UTC'
as $$
declare
  v_recorded integer;
begin
  if jsonb_typeof(request -> 'refusals') is distinct from 'array' then
    raise exception 'refusals are required' using errcode = '22023';
  end if;
  insert into whatsapp_monitor.refusals as r (minute, source, why, count)
  select date_trunc('minute', clock_timestamp() - make_interval(secs => n.ago_ms / 1000)),
         whatsapp_monitor.known_source(n.source), n.why, sum(n.count)
  from jsonb_to_recordset(request -> 'refusals')
    as n (source text, why text, count bigint, ago_ms double precision)
  group by 1, 2, 3
  -- Always in the same order, so that two isolates never wait for each other.
  order by 1, 2, 3
  on conflict (minute, source, why) do update set count = r.count + excluded.count;
  get diagnostics v_recorded = row_count;
  return jsonb_build_object('recorded', v_recorded);
end
$$;
