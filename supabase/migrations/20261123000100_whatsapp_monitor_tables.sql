-- WhatsApp connection monitor: schema and tables.
--
-- Everything of ours lives in the schema whatsapp_monitor, which PostgREST does not expose. Each
-- statement is harmless when it runs again.

-- ------------------------------------------------------------------------------------------------
-- Schema
-- ------------------------------------------------------------------------------------------------

create schema if not exists whatsapp_monitor;
comment on schema whatsapp_monitor is 'WhatsApp connection monitor: what it remembers.';
revoke all on schema whatsapp_monitor from public, anon, authenticated;

-- ------------------------------------------------------------------------------------------------
-- Settings: one row
-- ------------------------------------------------------------------------------------------------

create table if not exists whatsapp_monitor.settings (
  only_row           boolean primary key default true check (only_row),
  interval_s         integer not null default 30    check (interval_s between 10 and 86400),
  down_after_checks  integer not null default 3     check (down_after_checks between 1 and 1000),
  down_after_s       integer not null default 55    check (down_after_s between 0 and 86400),
  up_after_checks    integer not null default 2     check (up_after_checks between 1 and 1000),
  request_timeout_ms integer not null default 8000  check (request_timeout_ms between 100 and 30000),
  concurrency        integer not null default 16    check (concurrency between 1 and 200),
  tick_budget_ms     integer not null default 20000 check (tick_budget_ms between 100 and 60000),
  batch_size         integer not null default 200   check (batch_size between 1 and 1000),
  lease_s            integer not null default 45    check (lease_s between 1 and 300)
);

-- A database that holds an older version gets what came later.
alter table whatsapp_monitor.settings
  add column if not exists history_days integer not null default 90
    check (history_days between 1 and 3650),
  add column if not exists ledger_days  integer not null default 7
    check (ledger_days between 1 and 3650),
  add column if not exists stuck_connecting_checks integer not null default 4
    check (stuck_connecting_checks between 1 and 1000),
  add column if not exists first_action_after_s    integer not null default 75
    check (first_action_after_s between 60 and 86400),
  add column if not exists steady_close_s          integer not null default 150
    check (steady_close_s between 120 and 86400),
  add column if not exists blind_connect_after_s   integer not null default 900
    check (blind_connect_after_s = 0 or blind_connect_after_s between 300 and 86400),
  add column if not exists settle_s                integer not null default 90
    check (settle_s between 60 and 3600),
  add column if not exists attempts_per_5_min      integer not null default 3
    check (attempts_per_5_min between 0 and 5),
  add column if not exists attempts_per_hour       integer not null default 5
    check (attempts_per_hour between 0 and 12),
  add column if not exists probe_every_s           integer not null default 1800
    check (probe_every_s between 600 and 86400),
  add column if not exists zombie_probe_every_s    integer not null default 600
    check (zombie_probe_every_s = 0 or zombie_probe_every_s between 60 and 86400);

comment on table whatsapp_monitor.settings is 'How the monitor behaves. One row; update it.';
comment on column whatsapp_monitor.settings.only_row is
  'Keeps this table to one row.';
comment on column whatsapp_monitor.settings.interval_s is
  'Seconds between two checks of an instance. It is due when its last claim is at least interval_s - 5 s old, so that a punctual trigger never finds it not yet due. Set it to what the trigger can do: where checks are more than three intervals apart, none is taken together with the one before, and no outage is confirmed.';
comment on column whatsapp_monitor.settings.down_after_checks is
  'Bad checks in a row before a transient outage counts.';
comment on column whatsapp_monitor.settings.down_after_s is
  'Seconds that those bad checks, or a gateway''s silence, must span before they count.';
comment on column whatsapp_monitor.settings.up_after_checks is
  'Good checks in a row before an outage is over.';
comment on column whatsapp_monitor.settings.stuck_connecting_checks is
  'Checks in a row that see connecting before the dial of a paired instance counts as stuck.';
comment on column whatsapp_monitor.settings.first_action_after_s is
  'Seconds after the first bad check before anything is done: the gateway redials by itself.';
comment on column whatsapp_monitor.settings.steady_close_s is
  'Seconds of unbroken close of a paired instance before a connect, where there is evidence that nobody dials.';
comment on column whatsapp_monitor.settings.blind_connect_after_s is
  'The same where nothing tells whether a dial is under way; at most once an hour; 0 turns it off.';
comment on column whatsapp_monitor.settings.settle_s is
  'Seconds after an action in which nothing is judged and nothing more is done.';
comment on column whatsapp_monitor.settings.attempts_per_5_min is
  'Attempts to bring an instance back (connect, restart) within any 5 minutes; 0 turns them off.';
comment on column whatsapp_monitor.settings.attempts_per_hour is
  'The same within any hour, before the slow probe; 0 turns them off: of outages the monitor only tells.';
comment on column whatsapp_monitor.settings.probe_every_s is
  'Seconds between two actions on an instance once the hour''s are spent.';
comment on column whatsapp_monitor.settings.zombie_probe_every_s is
  'Seconds between two looks for the socket behind an open state; 0 turns them off.';
comment on column whatsapp_monitor.settings.request_timeout_ms is
  'Milliseconds that one question to a gateway may take.';
comment on column whatsapp_monitor.settings.concurrency is
  'Questions in flight at once, per gateway.';
comment on column whatsapp_monitor.settings.tick_budget_ms is
  'Milliseconds in which a trigger may start work; the rest is carried to the next, oldest first.';
comment on column whatsapp_monitor.settings.batch_size is
  'Instances that one tick claims at the most.';
comment on column whatsapp_monitor.settings.lease_s is
  'Seconds for which a claim is exclusive: the budget, one request, the write and a margin. When a tick dies, its instances are due again after this time.';

comment on column whatsapp_monitor.settings.history_days is
  'Days for which changes of status, outages and daily sums are kept.';
comment on column whatsapp_monitor.settings.ledger_days is
  'Days for which triggers, accepted and refused, ticks and actions are kept.';

insert into whatsapp_monitor.settings default values on conflict do nothing;

-- ------------------------------------------------------------------------------------------------
-- Who may trigger
-- ------------------------------------------------------------------------------------------------

create table if not exists whatsapp_monitor.trigger_tokens (
  digest     text primary key check (digest ~ '^[0-9a-f]{64}$'),
  created_at timestamptz not null default now(),
  expires_at timestamptz
);
comment on table whatsapp_monitor.trigger_tokens is
  'SHA-256 digests (hex) of the tokens that may trigger a tick. A token is 64 hex digits in lower case. Two are valid during a rotation.';

-- ------------------------------------------------------------------------------------------------
-- What is watched
-- ------------------------------------------------------------------------------------------------

create table if not exists whatsapp_monitor.gateways (
  id         bigint generated always as identity primary key,
  url        text not null unique,
  created_at timestamptz not null default now()
);
alter table whatsapp_monitor.gateways
  add column if not exists version          text check (length(version) between 1 and 32),
  add column if not exists version_asked_at timestamptz,
  add column if not exists reachable        boolean,
  add column if not exists reachable_since  timestamptz,
  add column if not exists capabilities     jsonb,
  add column if not exists clock_ahead_ms   bigint,
  add column if not exists fault_code       text,
  add column if not exists fault_text       text,
  add column if not exists down_since       timestamptz,
  add column if not exists cooldown_until   timestamptz,
  add column if not exists state            jsonb,
  add column if not exists state_version    bigint not null default 0;
comment on table whatsapp_monitor.gateways is
  'WhatsApp gateways, by their normalized URL.';
comment on column whatsapp_monitor.gateways.version_asked_at is
  'When the gateway was last asked for its version.';
comment on column whatsapp_monitor.gateways.reachable is
  'Whether its own program answered at the last check; reachable_since is since when that is so.';
comment on column whatsapp_monitor.gateways.capabilities is
  'What follows from its version: final_codes are those after which it deletes a session, may_act is whether the monitor may do more than look, webhooks is how they are set there.';
comment on column whatsapp_monitor.gateways.clock_ahead_ms is
  'Milliseconds by which its clock (the header Date) was ahead of the database''s when it was last asked for its version; it tells whole seconds.';
comment on column whatsapp_monitor.gateways.fault_code is
  'What is wrong with the gateway itself, and in words fault_text; null while most of its instances can be told of.';
comment on column whatsapp_monitor.gateways.down_since is
  'Since when it is down, where an outage of it is confirmed.';
comment on column whatsapp_monitor.gateways.cooldown_until is
  'Until when its instances are left alone after its last outage.';
comment on column whatsapp_monitor.gateways.state is
  'The monitor''s memory of it, opaque to SQL; state_version counts how often it was written.';

create table if not exists whatsapp_monitor.instances (
  id           bigint generated always as identity primary key,
  gateway_id   bigint not null references whatsapp_monitor.gateways,
  name         text not null,
  -- What it is, as the monitor last decided.
  status       text not null default 'unknown' check (status in
                 ('connected', 'connecting', 'waiting_qr', 'disconnected', 'blocked', 'zombie',
                  'gateway_unreachable', 'misconfigured', 'unknown')),
  status_since timestamptz,
  reason_code  text,
  reason_text  text,
  -- The monitor's memory of it, opaque to SQL, and the number of times it was written.
  state        jsonb,
  version      bigint not null default 0,
  -- When it is looked at. due_at is the one column that a claim searches by.
  due_at       timestamptz not null default '-infinity',
  due_before   timestamptz,
  claimed_at   timestamptz,
  checked_at   timestamptz,
  checked_by   uuid,
  -- Who works on it. The fence grows with each claim: a writer with an old one is late.
  lease_tick   uuid,
  lease_until  timestamptz,
  fence        bigint not null default 0,
  created_at   timestamptz not null default now(),
  removed_at   timestamptz,
  unique (gateway_id, name)
);
comment on table whatsapp_monitor.instances is
  'One row per instance: a name on a gateway. removed_at is set when no source names it any more.';

-- What the user's tables are told besides. Whoever was connected last is kept while it is down.
alter table whatsapp_monitor.instances
  add column if not exists is_down             boolean not null default false,
  add column if not exists phone_number        text,
  add column if not exists profile_name        text,
  add column if not exists profile_picture_url text;
comment on column whatsapp_monitor.instances.is_down is 'Whether an outage is confirmed.';

alter table whatsapp_monitor.instances
  add column if not exists decision text;
comment on column whatsapp_monitor.instances.decision is
  'What the monitor decided at the last check: none, wait, connect, restart, ask_for_qr, ask_owner or tell_operator.';

alter table whatsapp_monitor.instances
  add column if not exists settled_at timestamptz,
  add column if not exists booked_at  timestamptz;
comment on column whatsapp_monitor.instances.settled_at is
  'When a later check found it just as state has it; null where state is of the last check that had an answer.';
comment on column whatsapp_monitor.instances.booked_at is
  'Up to when days has its time.';

create index if not exists instances_due
  on whatsapp_monitor.instances (due_at, checked_at nulls first, id) where removed_at is null;
create index if not exists instances_checked
  on whatsapp_monitor.instances (gateway_id, checked_at) where removed_at is null;
create index if not exists instances_lease
  on whatsapp_monitor.instances (lease_tick) where lease_tick is not null;

create table if not exists whatsapp_monitor.sources (
  source_table    text not null,
  source_id       text not null,
  organization_id text not null,
  instance_id     bigint not null references whatsapp_monitor.instances,
  created_at      timestamptz not null default now(),
  primary key (source_table, source_id)
);
comment on table whatsapp_monitor.sources is
  'Which rows of the user''s tables name an instance. Credentials stay there and are joined when they are needed.';

-- Digests, so that a change shows without the key being kept.
alter table whatsapp_monitor.sources
  add column if not exists key_digest bytea,
  add column if not exists row_digest bytea not null default '';
comment on column whatsapp_monitor.sources.created_at is
  'Since when it names this instance for this organization: who came first has the say.';
comment on column whatsapp_monitor.sources.key_digest is
  'SHA-256 of the key.';
comment on column whatsapp_monitor.sources.row_digest is
  'SHA-256 of what was read; a row that still has it needs no second look.';

create index if not exists sources_instance on whatsapp_monitor.sources (instance_id);
create index if not exists sources_organization on whatsapp_monitor.sources (organization_id);

create table if not exists whatsapp_monitor.write_backs (
  source_table text not null,
  source_id    text not null,
  failed_since timestamptz not null,
  last_at      timestamptz,
  attempts     integer not null,
  error        text not null,
  primary key (source_table, source_id),
  foreign key (source_table, source_id) references whatsapp_monitor.sources on delete cascade
);
comment on table whatsapp_monitor.write_backs is
  'Rows of the user''s tables that could not be told the truth, until they are. Each is tried again at every check of its instance; last_at is null where there was no time to try.';

create table if not exists whatsapp_monitor.source_sync (
  only_row  boolean primary key default true check (only_row),
  synced_at timestamptz not null default '-infinity',
  error     text
);
comment on table whatsapp_monitor.source_sync is
  'When the sources were last read, and what went wrong then.';

alter table whatsapp_monitor.source_sync
  add column if not exists refused bigint not null default 0,
  add column if not exists waiting bigint not null default 0;
comment on column whatsapp_monitor.source_sync.refused is
  'Rows that do not count, because an instance is another organization''s.';
comment on column whatsapp_monitor.source_sync.waiting is
  'Rows that are new or have changed, and that a later reading takes in: each takes in so many.';

insert into whatsapp_monitor.source_sync default values on conflict do nothing;

-- ------------------------------------------------------------------------------------------------
-- What was done
-- ------------------------------------------------------------------------------------------------

create table if not exists whatsapp_monitor.ticks (
  id              uuid primary key,
  caller          text not null,
  organization_id text,
  claimed         integer not null,
  started_at      timestamptz not null,
  finished_at     timestamptz
);
comment on table whatsapp_monitor.ticks is
  'One row per tick. finished_at stays null where the tick died.';

create index if not exists ticks_started on whatsapp_monitor.ticks (started_at);

create table if not exists whatsapp_monitor.actions (
  id          bigint generated always as identity primary key,
  instance_id bigint not null references whatsapp_monitor.instances,
  tick_id     uuid not null references whatsapp_monitor.ticks,
  kind        text not null,
  granted_at  timestamptz not null,
  unique (tick_id, instance_id)
);
comment on table whatsapp_monitor.actions is
  'Each action, recorded before it is sent. It counts against the budget whatever became of it.';

alter table whatsapp_monitor.actions
  add column if not exists grounds   text,
  add column if not exists ack       text,
  add column if not exists verdict   text,
  add column if not exists judged_at timestamptz;
comment on column whatsapp_monitor.actions.grounds is
  'The evidence that it would help: state (a dial that hangs), webhook (events come, and tell of no dial), neighbour (another instance of the gateway is open), blind (none, but it has been very long).';
comment on column whatsapp_monitor.actions.ack is
  'What the gateway said: accepted, refused, or lost where nothing tells. It proves nothing.';
comment on column whatsapp_monitor.actions.verdict is
  'What came of it: worked, no_effect, refused or made_worse; null while things settle.';

create index if not exists actions_budget on whatsapp_monitor.actions (instance_id, granted_at);

create table if not exists whatsapp_monitor.housekeeping (
  only_row   boolean primary key default true check (only_row),
  cleaned_at timestamptz not null default '-infinity',
  error      text
);
comment on table whatsapp_monitor.housekeeping is
  'When old rows were last removed, and what went wrong then.';

alter table whatsapp_monitor.housekeeping
  add column if not exists more boolean not null default false;
comment on column whatsapp_monitor.housekeeping.more is
  'Whether some were left, which are removed within minutes.';

insert into whatsapp_monitor.housekeeping default values on conflict do nothing;

-- ------------------------------------------------------------------------------------------------
-- The user's table, where there is none yet
-- ------------------------------------------------------------------------------------------------

do $$
begin
  if to_regclass('public.organization_channel_config') is null
     and to_regclass('public.channel_instances') is null then
    create table public.organization_channel_config (
      id                          uuid primary key default gen_random_uuid(),
      organization_id             text not null,
      whatsapp_enabled            boolean default false,
      whatsapp_api_url            text,
      whatsapp_instance_name      text,
      whatsapp_api_key            text,
      whatsapp_instance_token     text,
      whatsapp_connected          boolean default false,
      whatsapp_phone_number       text,
      whatsapp_connection_status  text default 'disconnected',
      whatsapp_last_connected_at  timestamptz,
      whatsapp_error_message      text,
      created_at                  timestamptz default now(),
      deleted_at                  timestamptz
    );
    comment on table public.organization_channel_config is
      'Created by the WhatsApp monitor: one row per instance that it watches.';
    -- It holds keys: nobody but the service role gets at it.
    alter table public.organization_channel_config enable row level security;
    revoke all on public.organization_channel_config from public, anon, authenticated;
  end if;

  -- Ours, of whichever version: an organization may have several instances.
  if obj_description(to_regclass('public.organization_channel_config'), 'pg_class')
       like 'Created by the WhatsApp monitor: %'
     and not exists (
       select from pg_constraint
       where conrelid = to_regclass('public.organization_channel_config')
         and conname = 'organization_channel_config_instance_key') then
    alter table public.organization_channel_config
      drop constraint if exists organization_channel_config_organization_id_key,
      add constraint organization_channel_config_instance_key
        unique (organization_id, whatsapp_instance_name);
    comment on table public.organization_channel_config is
      'Created by the WhatsApp monitor: one row per instance that it watches.';
  end if;
end
$$;
