-- WhatsApp connection monitor: signs of life, for whoever watches the watcher, and what the function
-- tells of itself.

-- ------------------------------------------------------------------------------------------------
-- Who is alive
-- ------------------------------------------------------------------------------------------------

-- Ticks that show that triggers arrive and that the work gets done. One that only waited for another
-- shows nothing: the other may die, and the next one, too. Nor does what frontends and gateways cause.
create or replace view whatsapp_monitor.signs_of_life as
select t.id as tick_id, t.finished_at as at
from whatsapp_monitor.ticks t
where t.finished_at is not null and not t.busy and t.source not in ('poll', 'webhook');
comment on view whatsapp_monitor.signs_of_life is
  'Ticks that have committed, by which the health route and heartbeat_url go.';

create index if not exists ticks_signs_of_life on whatsapp_monitor.ticks (finished_at)
  where finished_at is not null and not busy and source not in ('poll', 'webhook');

-- How long ago the last tick committed; whether that is well is for the caller to say.
--
-- request: {}
-- answer:  {interval_s, age_ms: number, or null where none ever has}
create or replace function public.whatsapp_monitor_health(request jsonb)
returns jsonb
language sql stable security definer
set search_path = ''
as $$
  select jsonb_build_object(
    'interval_s', t.interval_s,
    'age_ms', whatsapp_monitor.epoch_ms(clock_timestamp())
              - whatsapp_monitor.epoch_ms((select max(l.at) from whatsapp_monitor.signs_of_life l)))
  from whatsapp_monitor.settings t
$$;

-- ------------------------------------------------------------------------------------------------
-- The sign of life that is given elsewhere
-- ------------------------------------------------------------------------------------------------

alter table whatsapp_monitor.settings
  add column if not exists heartbeat_url text
    check (heartbeat_url ~* '^https?://[^[:space:]]+$' and length(heartbeat_url) <= 2048);
comment on column whatsapp_monitor.settings.heartbeat_url is
  'What is fetched, by GET, after a tick that committed, once per interval_s at the most: a service that tells somebody when that stops. Null: none.';

create table if not exists whatsapp_monitor.heartbeat (
  only_row boolean primary key default true check (only_row),
  given_at timestamptz not null default '-infinity',
  tick_id  uuid
);
alter table whatsapp_monitor.heartbeat
  add column if not exists error        text,
  add column if not exists failed_since timestamptz;
comment on table whatsapp_monitor.heartbeat is
  'When a tick last took it on to fetch heartbeat_url, and which.';
comment on column whatsapp_monitor.heartbeat.error is
  'Why the last one was not taken, and since when none was (failed_since); null where it was.';

insert into whatsapp_monitor.heartbeat default values on conflict do nothing;

-- Whether this tick shows life and it is time to say so. As with instances, a punctual trigger never
-- finds it not yet time.
create or replace function whatsapp_monitor.heartbeat_due(tick uuid)
returns boolean
language sql stable
set search_path = ''
as $$
  select exists (select from whatsapp_monitor.settings t, whatsapp_monitor.heartbeat h
                 where t.heartbeat_url is not null
                   and h.given_at <= clock_timestamp() - make_interval(secs => t.interval_s - 5))
     and exists (select from whatsapp_monitor.signs_of_life l where l.tick_id = tick)
$$;

-- Gives the tick the sign of life to give, as {url, failing}, where it is due and nobody else has it:
-- null. Repeated, it gives the same again.
create or replace function whatsapp_monitor.claim_heartbeat(tick uuid)
returns jsonb
language plpgsql
set search_path = ''
as $$
begin
  -- Whoever comes second does not wait.
  perform from whatsapp_monitor.heartbeat for update skip locked;
  if found then
    update whatsapp_monitor.heartbeat h
    set given_at = clock_timestamp(), tick_id = tick
    where whatsapp_monitor.heartbeat_due(tick);
  end if;
  return (
    select jsonb_build_object('url', t.heartbeat_url, 'failing', h.error is not null)
    from whatsapp_monitor.settings t, whatsapp_monitor.heartbeat h
    where t.heartbeat_url is not null and h.tick_id = tick);
end
$$;

-- Writes down what came of the sign of life that the tick gave. Only a failure, and the first success
-- after one, need be told.
--
-- request: {tick_id, error: text, or null where it was taken}
-- answer:  {written: boolean}
create or replace function public.whatsapp_monitor_settle_heartbeat(request jsonb)
returns jsonb
language plpgsql security definer
set search_path = ''
as $$
begin
  if request ->> 'tick_id' is null then
    raise exception 'tick_id is required' using errcode = '22023';
  end if;
  update whatsapp_monitor.heartbeat h
  set error        = request ->> 'error',
      failed_since = case when request ->> 'error' is not null
                          then coalesce(h.failed_since, h.given_at) end
  where h.tick_id = (request ->> 'tick_id')::uuid;
  return jsonb_build_object('written', found);
end
$$;

-- ------------------------------------------------------------------------------------------------
-- What the function tells of itself
-- ------------------------------------------------------------------------------------------------

create table if not exists whatsapp_monitor.environment (
  only_row     boolean primary key default true check (only_row),
  token_digest text check (token_digest ~ '^[0-9a-f]{64}$'),
  reported_at  timestamptz not null default '-infinity'
);
comment on table whatsapp_monitor.environment is
  'What the function has last told of its environment, to the minute.';
comment on column whatsapp_monitor.environment.token_digest is
  'SHA-256 (hex) of its variable WHATSAPP_MONITOR_TOKEN; null where it has none, or has told nothing yet (reported_at).';

insert into whatsapp_monitor.environment default values on conflict do nothing;

-- Writes down what a trigger's function tells of itself. What has been told within the minute is not
-- written again, and nobody waits for another who writes it.
--
-- request: {environment_token_digest: hex or null}
create or replace function whatsapp_monitor.note_environment(request jsonb)
returns void
language sql
set search_path = ''
as $$
  update whatsapp_monitor.environment e
  set token_digest = request ->> 'environment_token_digest',
      reported_at  = clock_timestamp()
  where request ? 'environment_token_digest' and e.only_row in (
    select o.only_row from whatsapp_monitor.environment o
    where o.token_digest is distinct from request ->> 'environment_token_digest'
       or o.reported_at <= clock_timestamp() - interval '1 minute'
    for update skip locked)
$$;
