-- Gerado por build.sh de supabase/migrations e supabase/schedule: para mudar algo, mude lá.

-- MONITOR DE CONEXÃO DO WHATSAPP: INSTALAR, ATUALIZAR OU CONSERTAR
--
-- No painel do Supabase: SQL Editor > New query. Cole este arquivo inteiro e clique em Run. Se o
-- editor pedir confirmação, confirme: suas tabelas e seus dados ficam como estão. Executar de novo não
-- estraga nada. No fim aparece a lista de verificação: o que está "false" tem a correção ao lado.
--
-- A função também precisa estar publicada; no terminal: supabase functions deploy rendizy-server

-- A ÚNICA LINHA A EDITAR: o endereço do projeto, como 'https://SEU-PROJETO.supabase.co'. Vazia, vale o
-- endereço já conhecido; se não há nenhum, a função grava o dela na primeira vez em que for chamada, e
-- até lá a lista de verificação o diz.
set whatsapp_monitor.function_url = '';

-- Daqui em diante não há nada a editar. Tudo ou nada:
begin;

-- ------------------------------------------------------------------------------------------------
-- Extensões
-- ------------------------------------------------------------------------------------------------

do $$
declare
  v_extension record;
begin
  for v_extension in
    select * from (values
      ('pg_cron',        'cron',  null),
      ('pg_net',         'net',   'extensions'),
      ('supabase_vault', 'vault', null)
    ) as e (name, makes, lives)
  loop
    -- O que já existe, ou está no lugar dela, fica.
    continue when to_regnamespace(v_extension.makes) is not null;
    if not exists (select from pg_available_extensions a where a.name = v_extension.name) then
      raise exception 'A extensão % não está disponível neste Postgres.', v_extension.name
        using hint = 'Nada foi instalado. No Supabase ela faz parte de todo projeto: atualize o projeto '
                     'em Settings > Infrastructure. Em outro Postgres, instale-a antes.';
    end if;
    begin
      execute format('create extension %I', v_extension.name)
           || case when to_regnamespace(v_extension.lives) is not null
                   then format(' with schema %I', v_extension.lives) else '' end;
    exception when others then
      raise exception 'Não foi possível ativar a extensão %: %', v_extension.name, sqlerrm
        using hint = 'Nada foi instalado. Ative-a no painel, em Database > Extensions, e execute este '
                     'arquivo de novo.';
    end;
  end loop;

  -- Só a partir da versão 1.5 o pg_cron conhece segundos.
  if exists (select from pg_extension e
             where e.extname = 'pg_cron' and e.extversion ~ '^(0|1\.[0-4])(\.|-|$)') then
    alter extension pg_cron update;
  end if;
end
$$;

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

-- WhatsApp connection monitor: where instances come from.
--
-- The user's own tables name the instances. They are read with dynamic SQL, made of the columns that
-- are there: a table that does not exist is no error, and neither is one with fewer columns.

-- ------------------------------------------------------------------------------------------------
-- Small helpers
-- ------------------------------------------------------------------------------------------------

-- Milliseconds since the Unix epoch, the form in which moments leave the database. Its names are
-- resolved here and now, so that it needs no search path and becomes part of whatever calls it.
create or replace function whatsapp_monitor.epoch_ms(moment timestamptz)
returns bigint
language sql stable parallel safe
return floor(extract(epoch from moment) * 1000)::bigint;

-- One spelling per gateway: no blanks around, scheme and host in lower case, no default port, no
-- slash at the end. Where a URL may hold a secret (a user and password, a query), that is masked:
-- such a URL is stored and shown, and refused by the monitor, as is what is no URL at all.
create or replace function whatsapp_monitor.normalize_url(url text)
returns text
language plpgsql immutable parallel safe
set search_path = ''
as $$
declare
  trimmed text   := rtrim(regexp_replace(regexp_replace(
                      btrim(url, E' \t\r\n'), '^([a-z]+://)?[^/?#]*@', '\1***@', 'i'),
                      '[?#].*$', '?***'), '/');
  parts   text[] := regexp_match(trimmed, '^(https?)://([^/?#]+)(.*)$', 'i');
  scheme  text   := lower(parts[1]);
  host    text   := lower(parts[2]);
begin
  if parts is null then
    return trimmed;
  end if;
  host := case scheme
    when 'http'  then regexp_replace(host, ':80$', '')
    when 'https' then regexp_replace(host, ':443$', '')
  end;
  return scheme || '://' || host || parts[3];
end
$$;

-- ------------------------------------------------------------------------------------------------
-- Reading the sources
-- ------------------------------------------------------------------------------------------------

-- The user's tables that exist, each with the query for its rows that are enabled and have a key:
--   id (in its own type), organization_id, url, name, key, named_at, and the webhook that they
--   want, webhook_url and webhook_events (jsonb); these three null where nothing tells
-- A column that only narrows the choice may be missing. Without one that is needed there is no
-- query, but a text that says so.
create or replace function whatsapp_monitor.source_tables()
returns table (source_table text, id_type text, rows_query text, problem text)
language sql stable
set search_path = ''
as $$
  with known (source_table, id, organization_id, url, name, key) as (values
    ('channel_instances',
     'id', 'organization_id', 'api_url', 'instance_name', 'api_key'),
    ('organization_channel_config',
     'id', 'organization_id', 'whatsapp_api_url', 'whatsapp_instance_name', 'whatsapp_api_key')
  ),
  conditions (source_table, column_name, condition) as (values
    ('channel_instances', 'channel', $c$ and c.channel::text = 'whatsapp'$c$),
    ('channel_instances', 'provider', $c$ and c.provider::text = 'evolution'$c$),
    ('channel_instances', 'is_enabled', ' and c.is_enabled'),
    ('channel_instances', 'deleted_at', ' and c.deleted_at is null'),
    ('organization_channel_config', 'whatsapp_enabled', ' and c.whatsapp_enabled'),
    ('organization_channel_config', 'deleted_at', ' and c.deleted_at is null')
  ),
  present as (
    select k.source_table, a.attname::text as column_name, a.atttypid,
           format_type(a.atttypid, a.atttypmod) as column_type
    from known k
    join pg_attribute a on a.attrelid = to_regclass('public.' || k.source_table)
    where a.attnum > 0 and not a.attisdropped
  ),
  checked as (
    select k.*,
           (select string_agg(n.column_name, ', ' order by n.position)
            from unnest(array[k.id, k.organization_id, k.url, k.name, k.key])
              with ordinality as n (column_name, position)
            where n.column_name not in (
              select p.column_name from present p where p.source_table = k.source_table)) as missing,
           (select string_agg(c.condition, '' order by c.condition)
            from conditions c
            join present p using (source_table, column_name)
            where c.source_table = k.source_table) as conditions,
           (select 'c.created_at::timestamptz' from present p
            where p.source_table = k.source_table and p.column_name = 'created_at'
              and p.atttypid in ('timestamptz'::regtype, 'timestamp'::regtype, 'date'::regtype))
             as named_at,
           (select 'c.webhook_url::text' from present p
            where p.source_table = k.source_table and p.column_name = 'webhook_url') as webhook_url,
           (select 'to_jsonb(c.webhook_events)' from present p
            where p.source_table = k.source_table and p.column_name = 'webhook_events')
             as webhook_events,
           (select p.column_type from present p
            where p.source_table = k.source_table and p.column_name = k.id) as id_type
    from known k
    where to_regclass('public.' || k.source_table) is not null
  )
  select c.source_table, c.id_type,
         case when c.missing is null then format($query$
           select c.%2$I as id, c.%3$I::text as organization_id, c.%4$I::text as url,
                  c.%5$I::text as name, c.%6$I::text as key, %7$s as named_at,
                  %9$s as webhook_url, %10$s as webhook_events
           from public.%1$I c
           where c.%2$I is not null and btrim(c.%6$I::text) <> ''%8$s
         $query$, c.source_table, c.id, c.organization_id, c.url, c.name, c.key,
           coalesce(c.named_at, 'null::timestamptz'), c.conditions,
           coalesce(c.webhook_url, 'null::text'), coalesce(c.webhook_events, 'null::jsonb')) end,
         case when c.missing is not null then format(
           'public.%s: falta a coluna %s. Até que exista, vale a última leitura desta tabela.',
           c.source_table, c.missing) end
  from checked c
$$;

-- What is different in the user's tables since it was last read: a row that is new or has changed,
-- with what it names; a row that has gone, with nothing but its id; a table that could not be read,
-- with the problem and no id. What could not be read counts as unchanged. What does not fit into an
-- index is left out: one such row must not keep us from all the others.
create or replace function whatsapp_monitor.source_changes()
returns table (source_table text, source_id text, organization_id text, url text, name text,
               named_at timestamptz, key_digest bytea, row_digest bytea, problem text)
language plpgsql stable
set search_path = ''
as $$
declare
  v_table record;
begin
  for v_table in select * from whatsapp_monitor.source_tables() loop
    if v_table.problem is not null then
      return query select v_table.source_table, null, null, null, null, null::timestamptz,
                          null::bytea, null::bytea, v_table.problem;
      continue;
    end if;
    begin
      -- Another first word in the digest makes us look at every row again.
      return query execute format($query$
        select %1$L, coalesce(r.id, s.source_id), r.organization_id,
               r.url, r.name, r.named_at, sha256(convert_to(r.key, 'UTF8')), r.row_digest, null
        from (select q.id::text as id, q.organization_id, q.url, q.name, q.key, q.named_at,
                     sha256(convert_to(concat_ws(E'\x01', '1', q.organization_id, q.url, q.name,
                                                 q.key), 'UTF8')) as row_digest
              from (%2$s) q
              where btrim(q.url) <> '' and btrim(q.name) <> ''
                and octet_length(q.organization_id) <= 2000 and octet_length(q.url) <= 2000
                and octet_length(q.name) <= 2000) r
        full join (select s.source_id, s.row_digest from whatsapp_monitor.sources s
                   where s.source_table = %1$L) s on s.source_id = r.id
        where r.row_digest is distinct from s.row_digest
      $query$, v_table.source_table, v_table.rows_query);
    exception when others then
      return query select v_table.source_table, null, null, null, null, null::timestamptz,
                          null::bytea, null::bytea,
                          format('public.%s: %s', v_table.source_table, sqlerrm);
    end;
  end loop;
  -- A table that is no more.
  return query
    select s.source_table, s.source_id, null, null, null, null::timestamptz,
           null::bytea, null::bytea, null
    from whatsapp_monitor.sources s
    where to_regclass('public.' || quote_ident(s.source_table)) is null;
end
$$;

-- The organization and the key of each of these instances: those of the organization that named it
-- first, since a later one must not change what that one sees; where it does so in both tables, the
-- newer kind of table counts. Beside them the webhook that this organization wants, by the first of
-- its rows that names one. An instance that lost its credentials since the sources were last read is
-- left out.
drop function if exists whatsapp_monitor.credentials(bigint[]);
create or replace function whatsapp_monitor.credentials(instance_ids bigint[])
returns table (instance_id bigint, organization_id text, api_key text, webhook_url text,
               webhook_events jsonb)
language plpgsql stable
set search_path = ''
as $$
declare
  v_table record;
  v_some  jsonb;
  v_all   jsonb := '[]';
begin
  for v_table in
    select * from whatsapp_monitor.source_tables() t where t.rows_query is not null
  loop
    begin
      -- The id is compared in its own type, so that the user's index serves.
      execute format($query$
        select jsonb_agg(jsonb_build_object('source_table', s.source_table,
                                            'source_id', s.source_id, 'key', r.key,
                                            'webhook_url', r.webhook_url,
                                            'webhook_events', r.webhook_events))
        from whatsapp_monitor.sources s
        join (%s) r on r.id = s.source_id::%s
        where s.instance_id = any ($1) and s.source_table = %L
      $query$, v_table.rows_query, v_table.id_type, v_table.source_table)
      into v_some using instance_ids;
      v_all := v_all || coalesce(v_some, '[]');
    exception when others then
      -- sync_sources says what is wrong with the table; to fail here as well would undo that.
      null;
    end;
  end loop;
  return query
    with named as (
      select s.*, k.key, k.webhook_url, k.webhook_events,
             first_value(s.organization_id) over (
               partition by s.instance_id order by s.created_at, s.source_table, s.source_id) as first
      from jsonb_to_recordset(v_all)
        as k (source_table text, source_id text, key text, webhook_url text, webhook_events jsonb)
      join whatsapp_monitor.sources s using (source_table, source_id)
    ),
    hooks as (
      select distinct on (n.instance_id) n.instance_id, n.webhook_url, n.webhook_events
      from named n
      where n.organization_id = n.first and btrim(n.webhook_url) <> ''
      order by n.instance_id, n.source_table, n.created_at, n.source_id
    )
    select distinct on (n.instance_id) n.instance_id, n.organization_id, n.key, h.webhook_url,
                                       h.webhook_events
    from named n
    left join hooks h on h.instance_id = n.instance_id
    where n.organization_id = n.first
    order by n.instance_id, n.source_table, n.created_at, n.source_id;
end
$$;

-- Ends the outages of what is watched no more: of an instance that no source names, of a gateway that
-- no watched instance is on. Whoever comes back has no outage then. What somebody else writes just now
-- is left to the next call.
create or replace function whatsapp_monitor.end_outages_of_the_unwatched()
returns void
language plpgsql
set search_path = ''
as $$
begin
  with gone as (
    select o.id, o.gateway_id
    from whatsapp_monitor.outages o
    where o.ended_at is null
      and not exists (select from whatsapp_monitor.instances i
                      where i.id = o.instance_id and i.removed_at is null)
      and not exists (select from whatsapp_monitor.instances i
                      where i.gateway_id = o.gateway_id and i.removed_at is null)
    for update skip locked
  ),
  ended as (
    update whatsapp_monitor.outages o
    set ended_at = greatest(o.started_at, clock_timestamp()), left_watch = true
    from gone
    where o.id = gone.id
  )
  update whatsapp_monitor.gateways g
  set state = null, state_version = g.state_version + 1, fault_code = null, fault_text = null,
      down_since = null, cooldown_until = null
  from gone
  where g.id = gone.gateway_id;
end
$$;

-- Makes our instances those that the sources name: adds, moves, retires. What is retired keeps its
-- memory, and has it again when it returns. Where two organizations name one instance with different
-- keys, the one that came first has it, and the other sees nothing of it.
--
-- A call takes in so many rows, because whoever begins a tick waits for it: oldest first, so that who
-- came first has the say, and what has gone after what has come, so that what has only moved never
-- leaves. What does not count comes up each time, and must not keep anything else from its turn.
--
-- One statement, so one view of the user's tables. Only rows that change are locked: `on conflict do
-- update` locks all that it meets, and those would be missing from a claim made meanwhile. What could
-- not be read, or does not count, is kept in source_sync for people to see.
create or replace function whatsapp_monitor.sync_sources()
returns void
language plpgsql
set search_path = ''
-- The planner expects many times the rows that come: to compile for them takes longer than all else.
set jit = off
as $$
declare
  c_batch   constant integer := 10000;
  v_now     timestamptz;
  v_limit   bigint;
  v_problem text;
  v_refused bigint;
  v_waiting bigint;
  v_spans   jsonb;
begin
  -- One at a time.
  select c_batch + y.refused into strict v_limit from whatsapp_monitor.source_sync y for update;
  v_now := clock_timestamp();

  with all_changes as materialized (
    select distinct on (c.source_table, c.source_id) c.*
    from whatsapp_monitor.source_changes() c
  ),
  changes as materialized (
    select * from all_changes c
    order by c.problem, c.row_digest is null, c.named_at, c.source_table, c.source_id
    limit v_limit
  ),
  -- Many rows, few gateways: each spelling is looked at once.
  spellings as materialized (
    select c.url as spelled, whatsapp_monitor.normalize_url(c.url) as url
    from (select distinct url from changes where row_digest is not null) c
  ),
  found as materialized (
    select c.source_table, c.source_id, c.organization_id, u.url, c.name, c.named_at,
           c.key_digest, c.row_digest
    from changes c
    join spellings u on u.spelled = c.url
    where c.row_digest is not null
  ),
  new_gateways as (
    insert into whatsapp_monitor.gateways (url)
    select distinct f.url from found f
    where not exists (select from whatsapp_monitor.gateways g where g.url = f.url)
    order by f.url
    on conflict do nothing
    returning id, url
  ),
  known_gateways as (
    select id, url from whatsapp_monitor.gateways
    union all
    select id, url from new_gateways
  ),
  new_instances as (
    insert into whatsapp_monitor.instances (gateway_id, name)
    select distinct g.id, f.name
    from found f
    join known_gateways g on g.url = f.url
    where not exists (
      select from whatsapp_monitor.instances i where i.gateway_id = g.id and i.name = f.name)
    order by g.id, f.name
    on conflict do nothing
    returning id, gateway_id, name
  ),
  known_instances as (
    select id, gateway_id, name from whatsapp_monitor.instances
    union all
    select id, gateway_id, name from new_instances
  ),
  -- What the rows that changed name now, and what they named before.
  arrived as materialized (
    select f.*, i.id as instance_id, s.instance_id = i.id and s.key_digest <> f.key_digest as new_key,
           case when s.instance_id = i.id and s.organization_id = f.organization_id
                then s.created_at
                -- Those that come at once keep the order of the user's table.
                else v_now + interval '1 microsecond' * row_number() over (
                       order by f.named_at, f.source_table, f.source_id)
           end as created_at
    from found f
    join known_gateways g on g.url = f.url
    join known_instances i on i.gateway_id = g.id and i.name = f.name
    left join whatsapp_monitor.sources s using (source_table, source_id)
  ),
  departed as materialized (
    select s.instance_id
    from changes c
    join whatsapp_monitor.sources s using (source_table, source_id)
  ),
  -- All who name one of these instances, and who of them may.
  claims as (
    select a.instance_id, a.source_table, a.source_id, a.organization_id, a.created_at,
           a.key_digest, a.row_digest, a.new_key
    from arrived a
    union all
    select s.instance_id, s.source_table, s.source_id, s.organization_id, s.created_at,
           s.key_digest, null, false
    from whatsapp_monitor.sources s
    where s.instance_id in (select instance_id from arrived union select instance_id from departed)
      and not exists (
        select from changes c
        where c.source_table = s.source_table and c.source_id = s.source_id)
  ),
  ordered as (
    select c.*, first_value(c.organization_id) over (
             partition by c.instance_id order by c.created_at, c.source_table, c.source_id) as first
    from claims c
  ),
  judged as materialized (
    select o.*, bool_or(o.organization_id = o.first) over (
             partition by o.instance_id, o.key_digest) as counts
    from ordered o
  ),
  rightful as materialized (
    select * from judged j where j.counts or j.organization_id = j.first
  ),
  named as (
    insert into whatsapp_monitor.sources
      (source_table, source_id, organization_id, instance_id, created_at, key_digest, row_digest)
    select r.source_table, r.source_id, r.organization_id, r.instance_id, r.created_at,
           r.key_digest, r.row_digest
    from rightful r
    where r.row_digest is not null
    on conflict (source_table, source_id) do update
    set organization_id = excluded.organization_id, instance_id = excluded.instance_id,
        created_at = excluded.created_at, key_digest = excluded.key_digest,
        row_digest = excluded.row_digest
  ),
  no_longer_named as (
    delete from whatsapp_monitor.sources s
    using (select c.source_table, c.source_id from changes c
           union select j.source_table, j.source_id from judged j
           except select r.source_table, r.source_id from rightful r) gone
    where s.source_table = gone.source_table and s.source_id = gone.source_id
  ),
  -- In one order, so that nobody waits for us while we wait for him.
  touched as materialized (
    select i.id, i.removed_at is not null as removed, i.booked_at,
           exists (select from rightful r where r.instance_id = i.id) as is_named,
           exists (select from rightful r where r.instance_id = i.id and r.new_key) as new_key
    from whatsapp_monitor.instances i
    where i.id in (select instance_id from arrived union select instance_id from departed)
    order by i.id
    for update
  ),
  retired as (
    update whatsapp_monitor.instances i
    set removed_at = v_now, booked_at = i.checked_at
    from touched t
    where i.id = t.id and not t.is_named and not t.removed
    returning i.id, whatsapp_monitor.kind_of_time(i.status) as kind, t.booked_at as since,
              i.checked_at as until
  ),
  -- A tick that still holds it keeps it; as if it had never been claimed, it is due right after. The
  -- outage of one that returns ended when it left: what it has now is another one.
  due_at_once as (
    update whatsapp_monitor.instances i
    set removed_at = null, due_at = coalesce(i.lease_until, '-infinity'), claimed_at = '-infinity',
        is_down = i.is_down and not t.removed,
        state   = case when t.removed and jsonb_typeof(i.state) = 'object'
                       then i.state - array['bad', 'down_since'] else i.state end,
        version = i.version + t.removed::integer
    from touched t
    where i.id = t.id and t.is_named and (t.removed or t.new_key)
  ),
  problems (problem) as (
    select c.problem from changes c where c.problem is not null
    union all
    (select format('public.%s, id %s: a instância "%s" em %s já é da organização %s, com outra chave. '
                   'Esta linha, da organização %s, não conta.',
                   j.source_table, j.source_id, i.name, g.url, j.first, j.organization_id)
     from judged j
     join known_instances i on i.id = j.instance_id
     join known_gateways g on g.id = i.gateway_id
     where not j.counts and j.organization_id <> j.first
     order by j.source_table, j.source_id
     limit 20)
  )
  select (select string_agg(p.problem, E'\n' order by p.problem) from problems p),
         (select count(*) from judged j where not j.counts and j.organization_id <> j.first),
         (select count(*) from all_changes) - (select count(*) from changes),
         -- No other check may come that books it.
         (select jsonb_agg(to_jsonb(r)) from retired r where r.since < r.until)
  into v_problem, v_refused, v_waiting, v_spans;

  perform whatsapp_monitor.book(v_spans);
  perform whatsapp_monitor.end_outages_of_the_unwatched();
  update whatsapp_monitor.source_sync
  set error = v_problem, refused = v_refused, waiting = v_waiting
  where (error, refused, waiting) is distinct from (v_problem, v_refused, v_waiting);
end
$$;

-- Reads the sources unless that was done within max_age, by whoever comes first. What goes wrong
-- there is kept for people to see and spoils nothing: the instances known so far are checked.
create or replace function whatsapp_monitor.sync_sources_if_older(max_age interval)
returns void
language plpgsql
set search_path = ''
as $$
begin
  perform from whatsapp_monitor.source_sync
  where synced_at <= clock_timestamp() - max_age
  for update skip locked;
  if not found then
    return;
  end if;
  begin
    perform whatsapp_monitor.sync_sources();
  exception when others then
    update whatsapp_monitor.source_sync set error = sqlerrm;
  end;
  update whatsapp_monitor.source_sync set synced_at = clock_timestamp();
end
$$;

-- The reader of the previous version.
drop function if exists whatsapp_monitor.source_rows();

-- WhatsApp connection monitor: adding an instance by hand.

-- ------------------------------------------------------------------------------------------------
-- Adding an instance
-- ------------------------------------------------------------------------------------------------

-- Adds an instance for the monitor to watch, and reads it at once:
--
--   select * from whatsapp_monitor.add_instance(
--     'my organization', 'https://evolution.example.com', 'my instance', 'the key');
--
-- It becomes a row of organization_channel_config or, where that cannot hold it, of
-- channel_instances. Where something is wrong nothing is written, and the error says what to do.
create or replace function whatsapp_monitor.add_instance(
  organization text, url text, name text, key text)
returns table (instance_id bigint, organization_id text, gateway_url text, instance_name text,
               source_table text, source_id text)
language plpgsql
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_call constant text := 'select * from whatsapp_monitor.add_instance('
    '''organização'', ''https://evolution.exemplo.com'', ''instância'', ''chave'');';
  v_url  constant text := whatsapp_monitor.normalize_url(add_instance.url);
  v_name constant text := add_instance.name;
  v_key  constant text := add_instance.key;
  v_organization  text := add_instance.organization;
  v_table   text;
  v_type    text;
  v_id      text;
  v_other   record;
  v_problem text;
begin
  -- What was given.
  v_problem := case
    when coalesce(v_organization, '') ~ '^\s*$'
      then 'A organização está vazia.'
    when coalesce(v_url, '') !~ '^https?://[^/?#@[:space:][:cntrl:]]+(/[^?#[:space:][:cntrl:]]*)?$'
      then 'A URL do gateway deve começar com http:// ou https://, sem usuário, senha, "?", "#" ou espaços.'
    when coalesce(v_name, '') ~ '^\s*\.{0,2}\s*$'
      then 'O nome da instância está vazio, ou é "." ou "..".'
    when coalesce(v_key, '') !~ '^[!-~]+$'
      then 'A chave está vazia, ou tem espaços ou caracteres que não são ASCII visível.'
    when greatest(octet_length(v_organization), octet_length(v_url), octet_length(v_name)) > 2000
      then 'A organização, a URL ou o nome da instância tem mais de 2000 bytes.'
  end;
  if v_problem is not null then
    raise exception '%', v_problem using errcode = '22023', hint = 'Chame assim: ' || v_call;
  end if;

  -- Where it goes.
  select t.source_table into v_table
  from whatsapp_monitor.source_tables() t
  where t.problem is null
  order by t.source_table desc
  limit 1;
  if v_table is null then
    raise exception 'Não há tabela que possa guardar a instância. %', coalesce(
        (select string_agg(t.problem, ' ') from whatsapp_monitor.source_tables() t),
        'Não existe public.organization_channel_config nem public.channel_instances.')
      using errcode = '22023',
            hint = 'Aplique as migrações de novo: onde não há tabela nenhuma, elas criam uma.';
  end if;
  select format_type(a.atttypid, a.atttypmod) into v_type
  from pg_attribute a
  where a.attrelid = to_regclass('public.' || v_table) and a.attname = 'organization_id';
  begin
    execute format('select %L::%s::text', v_organization, v_type) into v_organization;
  exception when data_exception then
    raise exception 'A organização "%" não serve: em public.% ela é do tipo %.',
        v_organization, v_table, v_type
      using errcode = '22023', hint = 'Chame assim: ' || v_call;
  end;

  -- Whether it is new.
  perform whatsapp_monitor.sync_sources();
  select s.*, s.key_digest = sha256(convert_to(v_key, 'UTF8')) as same_key into v_other
  from whatsapp_monitor.gateways g
  join whatsapp_monitor.instances i on i.gateway_id = g.id
  join whatsapp_monitor.sources s on s.instance_id = i.id
  where g.url = v_url and i.name = v_name
  order by s.organization_id = v_organization desc, s.created_at, s.source_table, s.source_id
  limit 1;
  if v_other.organization_id = v_organization then
    raise exception 'A instância "%" em % já está cadastrada para a organização %: public.%, id %.',
        v_name, v_url, v_organization, v_other.source_table, v_other.source_id
      using errcode = '22023',
            hint = format('Para trocar a chave: update public.%s set %s = ''nova chave'' where id = %L;',
                          v_other.source_table,
                          case v_other.source_table when 'channel_instances' then 'api_key'
                                                    else 'whatsapp_api_key' end,
                          v_other.source_id);
  elsif not v_other.same_key then
    raise exception 'A instância "%" em % já é da organização %, com outra chave.',
        v_name, v_url, v_other.organization_id
      using errcode = '22023',
            hint = 'Confira o nome da instância e a chave (a mesma chave é aceita) e chame assim: '
                   || v_call;
  end if;

  begin
    -- Each value in the type of its column, as far as the columns exist.
    execute (
      select format('insert into public.%I (%s) values (%s) returning id::text', v_table,
                    string_agg(format('%I', a.attname), ', '),
                    string_agg(format('%L::%s', v.value, format_type(a.atttypid, a.atttypmod)), ', '))
      from (values
        ('organization_channel_config', 'organization_id',        v_organization),
        ('organization_channel_config', 'whatsapp_api_url',       v_url),
        ('organization_channel_config', 'whatsapp_instance_name', v_name),
        ('organization_channel_config', 'whatsapp_api_key',       v_key),
        ('organization_channel_config', 'whatsapp_enabled',       'true'),
        ('channel_instances',           'organization_id',        v_organization),
        ('channel_instances',           'api_url',                v_url),
        ('channel_instances',           'instance_name',          v_name),
        ('channel_instances',           'api_key',                v_key),
        ('channel_instances',           'channel',                'whatsapp'),
        ('channel_instances',           'provider',               'evolution'),
        ('channel_instances',           'is_enabled',             'true')
      ) as v (table_name, column_name, value)
      join pg_attribute a on a.attname = v.column_name
      where v.table_name = v_table and a.attrelid = to_regclass('public.' || v_table)
        and a.attnum > 0 and not a.attisdropped)
    into v_id;
  exception
    when foreign_key_violation then
      raise exception 'A organização % não existe.', v_organization
        using errcode = '22023', detail = sqlerrm,
              hint = 'Crie a organização primeiro, ou corrija o id e chame assim: ' || v_call;
    when unique_violation then
      get stacked diagnostics v_problem = pg_exception_detail;
      raise exception 'public.% já tem uma linha no lugar desta.', v_table
        using errcode = '22023', detail = v_problem,
              hint = 'Ela pode estar desativada, apagada ou incompleta: complete-a com update, ou '
                     'escolha outra organização ou outro nome de instância.';
    when integrity_constraint_violation then
      raise exception 'public.% exige mais do que add_instance sabe preencher: %', v_table, sqlerrm
        using errcode = '22023', hint = 'Insira a linha nessa tabela com um insert completo.';
  end;

  perform whatsapp_monitor.sync_sources();
  return query
    select i.id, s.organization_id, g.url, i.name, s.source_table, s.source_id
    from whatsapp_monitor.sources s
    join whatsapp_monitor.instances i on i.id = s.instance_id
    join whatsapp_monitor.gateways g on g.id = i.gateway_id
    where s.source_table = v_table and s.source_id = v_id;
  if not found then
    raise exception 'public.% não guardou a instância como foi dada. %', v_table,
        (select coalesce(e.error, case when e.waiting > 0 then
                  'Antes dela esperam outras linhas; tente de novo em alguns minutos.' end)
         from whatsapp_monitor.source_sync e)
      using errcode = '22023',
            hint = 'Nada foi gravado. Veja se um gatilho da tabela muda a linha e tente de novo.';
  end if;
end
$$;

-- WhatsApp connection monitor: the webhook that each instance has, and what it told.

-- ------------------------------------------------------------------------------------------------
-- Settings
-- ------------------------------------------------------------------------------------------------

alter table whatsapp_monitor.settings
  add column if not exists webhook_policy text not null default 'manage'
    check (webhook_policy in ('manage', 'take_over', 'verify', 'off')),
  add column if not exists webhook_url text
    check (webhook_url ~* '^https?://[^[:space:]]+$' and length(webhook_url) <= 2048),
  add column if not exists forward_to text
    check (forward_to ~* '^https?://[^[:space:]]+$' and length(forward_to) <= 2048),
  add column if not exists webhook_check_every_s integer not null default 300
    check (webhook_check_every_s between 30 and 86400);
comment on column whatsapp_monitor.settings.webhook_policy is
  'What is done about the one webhook of each instance: manage (an empty slot is filled and ours is repaired; somebody else''s is reported and left alone), take_over (somebody else''s is replaced), verify (only reported), off (not even looked at).';
comment on column whatsapp_monitor.settings.webhook_url is
  'Where gateways send events; null is the monitor''s own receiver. A webhook_url in your own tables wins over it.';
comment on column whatsapp_monitor.settings.forward_to is
  'Where the monitor''s receiver passes every event on, unchanged; null is nowhere.';
comment on column whatsapp_monitor.settings.webhook_check_every_s is
  'Seconds between two looks at the webhook of an instance that is open.';

-- ------------------------------------------------------------------------------------------------
-- Webhooks
-- ------------------------------------------------------------------------------------------------

-- A new secret: 64 hex digits. Three random UUIDs have 366 random bits, more than the 256 that come
-- out.
create or replace function whatsapp_monitor.new_secret()
returns text
language sql volatile
set search_path = ''
as $$
  select encode(sha256(convert_to(
    gen_random_uuid()::text || gen_random_uuid() || gen_random_uuid(), 'UTF8')), 'hex')
$$;

create table if not exists whatsapp_monitor.webhooks (
  instance_id     bigint primary key references whatsapp_monitor.instances,
  secret          text not null default whatsapp_monitor.new_secret()
                    check (secret ~ '^[0-9a-f]{64}$'),
  digest          text not null unique
                    generated always as (encode(sha256(decode(secret, 'escape')), 'hex')) stored,
  previous_digest text unique,
  previous_until  timestamptz,
  -- What the monitor remembers of it, opaque to SQL, and the same for people.
  memory          jsonb,
  finding         text,
  drift           jsonb,
  found_url       text,
  looked_at       timestamptz,
  -- What our receiver heard, by the database's clock at arrival.
  last_event_at      timestamptz,
  last_connecting_at timestamptz,
  last_message_at    timestamptz,
  storm_until        timestamptz,
  created_at      timestamptz not null default now()
);
comment on table whatsapp_monitor.webhooks is
  'The webhook of each instance: the secret that its gateway sends with every event, what the monitor found when it last looked, and what was heard.';
comment on column whatsapp_monitor.webhooks.digest is
  'SHA-256 (hex) of the secret: what the receiver asks by.';
comment on column whatsapp_monitor.webhooks.previous_digest is
  'The one before, which is accepted until previous_until: the gateway still sends it until its webhook is set again.';
comment on column whatsapp_monitor.webhooks.finding is
  'What was found in the slot at looked_at: right, drifted (in what: drift), empty, wiped, foreign, contended (somebody else rewrites it), refused (the gateway would not take ours), unreadable, no_receiver (nobody said where events should go).';
comment on column whatsapp_monitor.webhooks.found_url is
  'Where it leads, without user and query.';
comment on column whatsapp_monitor.webhooks.last_event_at is
  'When the last event of any kind arrived; last_connecting_at and last_message_at are of those kinds alone. Written at most every few seconds.';
comment on column whatsapp_monitor.webhooks.storm_until is
  'Until when connection events are not asked for, because they come in thousands.';

-- ------------------------------------------------------------------------------------------------
-- Whose it is
-- ------------------------------------------------------------------------------------------------

-- The instance whose gateway sends the secret of this digest; null where there is none.
create or replace function whatsapp_monitor.webhook_of(digest text)
returns bigint
language sql stable
set search_path = ''
as $$
  select w.instance_id
  from whatsapp_monitor.webhooks w
  join whatsapp_monitor.instances i on i.id = w.instance_id and i.removed_at is null
  where w.digest = $1 or (w.previous_digest = $1 and w.previous_until > clock_timestamp())
$$;

-- Gives every instance a new secret, or the one named; the old one is accepted for as long as it
-- takes to set all webhooks again. Gives how many.
create or replace function whatsapp_monitor.rotate_webhook_secrets(
  of_instance bigint default null, overlap interval default '1 hour')
returns bigint
language sql volatile
set search_path = ''
as $$
  with rotated as (
    update whatsapp_monitor.webhooks w
    set previous_digest = w.digest,
        previous_until  = clock_timestamp() + overlap,
        secret          = whatsapp_monitor.new_secret()
    where of_instance is null or w.instance_id = of_instance
    returning 1
  )
  select count(*) from rotated
$$;

-- ------------------------------------------------------------------------------------------------
-- What a tick is given, and gives back
-- ------------------------------------------------------------------------------------------------

-- What a tick is given of the webhooks of these instances, but for what the user's tables say of them.
drop function if exists whatsapp_monitor.webhook_claim(bigint, text, jsonb);
create or replace function whatsapp_monitor.webhook_claims(instance_ids bigint[])
returns table (instance_id bigint, claim jsonb)
language sql stable
set search_path = ''
as $$
  with sets as (
    select a.instance_id,
           jsonb_agg(jsonb_build_object(
             'id', a.id,
             'granted_ms', whatsapp_monitor.epoch_ms(a.granted_at),
             'occasion', a.grounds,
             'verdict', a.verdict) order by a.granted_at, a.id) as sets
    from whatsapp_monitor.actions a
    where a.instance_id = any (instance_ids) and a.kind = 'webhook_set'
      and a.granted_at > clock_timestamp() - interval '2 hours'
    group by a.instance_id
  )
  select w.instance_id, jsonb_build_object(
    'secret', w.secret,
    'memory', w.memory,
    'storm_until_ms', whatsapp_monitor.epoch_ms(w.storm_until),
    'last_event_ms', whatsapp_monitor.epoch_ms(w.last_event_at),
    'last_connecting_ms', whatsapp_monitor.epoch_ms(w.last_connecting_at),
    'sets', coalesce(s.sets, '[]'))
  from whatsapp_monitor.webhooks w
  left join sets s on s.instance_id = w.instance_id
  where w.instance_id = any (instance_ids)
$$;

-- Keeps what looks at webhooks came to. Called with the results of finish_tick, once they are written.
create or replace function whatsapp_monitor.record_webhooks(tick uuid, results jsonb)
returns void
language sql
set search_path = ''
as $$
  update whatsapp_monitor.webhooks w
  set memory    = r.webhook -> 'memory',
      finding   = r.webhook ->> 'finding',
      drift     = nullif(r.webhook -> 'drift', '[]'),
      found_url = r.webhook ->> 'found_url',
      looked_at = to_timestamp((r.webhook ->> 'looked_ms')::bigint / 1000.0)
  from jsonb_to_recordset(results) as r (id bigint, webhook jsonb)
  join whatsapp_monitor.instances i on i.id = r.id and i.checked_by = tick
  where w.instance_id = r.id and r.webhook is not null
$$;

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

-- WhatsApp connection monitor: its own schedule. pg_cron calls fire(), which calls the function with
-- the token from Vault.

-- ------------------------------------------------------------------------------------------------
-- Tables
-- ------------------------------------------------------------------------------------------------

alter table whatsapp_monitor.settings
  add column if not exists function_url text
    check (function_url ~* '^https?://[^/?#@[:space:]]+(/[^?#[:space:]]*)?$'
           and length(function_url) <= 2048);
comment on column whatsapp_monitor.settings.function_url is
  'Where pg_cron calls the function: the project''s URL, or that of the function. Null: the function writes its own the first time that it is called by somebody else.';

create table if not exists whatsapp_monitor.installation (
  only_row        boolean primary key default true check (only_row),
  scheduled_at    timestamptz,
  runs_cleaned_at timestamptz not null default '-infinity',
  runs_error      text
);
comment on table whatsapp_monitor.installation is
  'What is known of how the monitor is set up.';
comment on column whatsapp_monitor.installation.scheduled_at is
  'When the job was made, the last time.';
comment on column whatsapp_monitor.installation.runs_cleaned_at is
  'When old runs of the job were last removed from cron.job_run_details; runs_error is what went wrong then.';

insert into whatsapp_monitor.installation default values on conflict do nothing;

create table if not exists whatsapp_monitor.requests (
  id         bigint generated always as identity primary key,
  at         timestamptz not null default clock_timestamp(),
  request_id bigint,
  problem    text,
  check (num_nonnulls(request_id, problem) = 1)
);
comment on table whatsapp_monitor.requests is
  'What fire() did in the last hours: the id of the request in pg_net, or why it made none (no_url, no_token, or the error).';

create index if not exists requests_at on whatsapp_monitor.requests (at);

-- ------------------------------------------------------------------------------------------------
-- The token
-- ------------------------------------------------------------------------------------------------

-- The form in which tokens are compared.
create or replace function whatsapp_monitor.digest_of(token text)
returns text
language sql immutable parallel safe
set search_path = ''
as $$
  select encode(sha256(convert_to(token, 'UTF8')), 'hex')
$$;

-- The token in Vault; null where there is none that could be one.
create or replace function whatsapp_monitor.trigger_token()
returns text
language plpgsql stable
set search_path = ''
as $$
begin
  return (
    select s.decrypted_secret from vault.decrypted_secrets s
    where s.name = 'whatsapp_monitor_token' and s.decrypted_secret ~ '^[0-9a-f]{64}$');
end
$$;

-- Puts a new token into Vault, which must be accepted before anybody can send it, and gives it.
create or replace function whatsapp_monitor.make_token()
returns text
language plpgsql
set search_path = ''
as $$
declare
  v_token  constant text := whatsapp_monitor.new_secret();
  v_secret uuid;
begin
  insert into whatsapp_monitor.trigger_tokens (digest)
  values (whatsapp_monitor.digest_of(v_token));
  select s.id into v_secret from vault.decrypted_secrets s where s.name = 'whatsapp_monitor_token';
  if v_secret is null then
    perform vault.create_secret(v_token, 'whatsapp_monitor_token',
      'Token com que o pg_cron chama o monitor de WhatsApp.');
  else
    perform vault.update_secret(v_secret, v_token);
  end if;
  return v_token;
end
$$;

-- Changes the token and gives the new one, this once, for the external services:
--
--   select whatsapp_monitor.rotate_token();
--
-- The old ones stay valid for a day, or as long as is said: after a leak, '0'.
create or replace function whatsapp_monitor.rotate_token(overlap interval default '1 day')
returns text
language plpgsql
set search_path = ''
as $$
begin
  update whatsapp_monitor.trigger_tokens t
  set expires_at = clock_timestamp() + overlap
  where coalesce(t.expires_at, 'infinity') > clock_timestamp() + overlap;
  return whatsapp_monitor.make_token();
end
$$;

-- ------------------------------------------------------------------------------------------------
-- The call
-- ------------------------------------------------------------------------------------------------

-- What pg_cron is to call; null where nobody has said where the function is.
create or replace function whatsapp_monitor.trigger_url()
returns text
language sql stable
set search_path = ''
as $$
  select u.base || case
           when u.base ~ '/whatsapp/monitor/start$' then ''
           when u.base ~ '/functions/v1/.'          then '/whatsapp/monitor/start'
           when u.base ~ '/functions/v1$'           then '/rendizy-server/whatsapp/monitor/start'
           else '/functions/v1/rendizy-server/whatsapp/monitor/start'
         end
  from (select rtrim(t.function_url, '/') as base from whatsapp_monitor.settings t) u
$$;

-- Calls the function. This is what the job does. Gives the request's id; without a token or a URL
-- there is no call, and the reason is kept.
create or replace function whatsapp_monitor.fire()
returns bigint
language plpgsql
set search_path = ''
as $$
declare
  -- pg_net sends its requests in batches, and each batch waits for its slowest one: what waits longer
  -- holds up everybody who uses pg_net. The function answers once it has begun.
  c_timeout_ms constant integer := 5000;
  v_token   text;
  v_url     text;
  v_request bigint;
  v_problem text;
begin
  begin
    v_token := whatsapp_monitor.trigger_token();
    v_url   := whatsapp_monitor.trigger_url();
    if v_url is null then
      v_problem := 'no_url';
    elsif v_token is null then
      v_problem := 'no_token';
    else
      v_request := net.http_post(
        url                  := v_url,
        body                 := jsonb_build_object('source', 'pg_cron'),
        headers              := jsonb_build_object('Content-Type', 'application/json',
                                                   'x-monitor-token', v_token),
        timeout_milliseconds := c_timeout_ms);
    end if;
  exception when others then
    v_problem := left(replace(sqlstate || ' ' || sqlerrm, coalesce(v_token, ''), '***'), 200);
  end;

  insert into whatsapp_monitor.requests (request_id, problem)
  values (v_request, case when v_request is null then coalesce(v_problem, 'no_request') end);
  -- pg_net keeps its answers as long.
  delete from whatsapp_monitor.requests where at < clock_timestamp() - interval '6 hours';
  perform whatsapp_monitor.clean_up_runs_if_due();
  perform whatsapp_monitor.test_receiver_if_due();
  return v_request;
end
$$;

-- ------------------------------------------------------------------------------------------------
-- The job
-- ------------------------------------------------------------------------------------------------

-- Whether a job's command calls the monitor, in the present way or in an older one.
create or replace function whatsapp_monitor.calls_monitor(command text)
returns boolean
language sql immutable parallel safe
set search_path = ''
as $$
  select command ~* '/whatsapp/monitor/start|whatsapp_monitor\s*\.\s*fire\M'
$$;

-- The one command of the one job.
create or replace function whatsapp_monitor.job_command()
returns text
language sql immutable parallel safe
set search_path = ''
as $$
  select 'select whatsapp_monitor.fire();'
$$;

-- Makes the one right job, whatever there was, with a token; a right one stays as it is. Where a URL
-- is given, that is where the function is from now on; where nobody ever said, an older job did.
--
--   select whatsapp_monitor.schedule();
create or replace function whatsapp_monitor.schedule(url text default null)
returns void
language plpgsql
set search_path = ''
as $$
declare
  c_name     constant text := 'monitor-whatsapp-connection';
  v_url      text := nullif(btrim(schedule.url), '');
  v_schedule text;
  v_job      record;
begin
  if to_regprocedure('cron.schedule(text,text,text)') is null
     or to_regclass('vault.decrypted_secrets') is null then
    raise exception 'Falta o pg_cron ou o Vault neste banco de dados.'
      using hint = 'Cole e execute o arquivo CRIAR_CRON_JOB_MONITORAMENTO_WHATSAPP.sql inteiro.';
  end if;

  -- The token: what Vault has counts.
  if whatsapp_monitor.trigger_token() is null then
    perform whatsapp_monitor.make_token();
  end if;
  insert into whatsapp_monitor.trigger_tokens as t (digest)
  values (whatsapp_monitor.digest_of(whatsapp_monitor.trigger_token()))
  on conflict (digest) do update set expires_at = null where t.expires_at is not null;

  -- The URL.
  if v_url is not null then
    begin
      update whatsapp_monitor.settings set function_url = v_url;
    exception when check_violation then
      raise exception 'A URL "%" não serve.', v_url
        using errcode = '22023', hint = 'Ela deve ser como https://SEU-PROJETO.supabase.co';
    end;
  end if;

  -- The job. A known one that is scheduled again stays inactive, if it was: a new one is active.
  select least(t.interval_s, 30) || ' seconds' into strict v_schedule
  from whatsapp_monitor.settings t;
  for v_job in
    select j.jobid, j.command
    from cron.job j
    where j.database = current_database()
      and (j.jobname = c_name or whatsapp_monitor.calls_monitor(j.command))
      and (j.jobname, j.username, j.schedule, j.command, j.active)
          is distinct from
          (c_name, current_user::text, v_schedule, whatsapp_monitor.job_command(), true)
    order by j.jobid
  loop
    -- In lower case: "SEU-PROJETO" is no project.
    update whatsapp_monitor.settings
    set function_url = substring(
      v_job.command from '(https?://[a-z0-9.:-]+/functions/v1/[a-z0-9_-]+)/')
    where function_url is null;
    begin
      perform cron.unschedule(v_job.jobid);
    exception when insufficient_privilege then
      null; -- another owner's: the checklist tells of it
    end;
  end loop;
  if not exists (
    select from cron.job j where j.jobname = c_name and j.username = current_user
  ) then
    begin
      perform cron.schedule(c_name, v_schedule, whatsapp_monitor.job_command());
    exception when invalid_parameter_value then
      raise exception 'Este pg_cron não aceita o agendamento "%": %', v_schedule, sqlerrm
        using hint = 'É preciso o pg_cron 1.5 ou mais novo: atualize o Postgres do projeto no painel do Supabase.';
    end;
    update whatsapp_monitor.installation set scheduled_at = clock_timestamp();
  end if;
end
$$;

-- ------------------------------------------------------------------------------------------------
-- Where the function says it is
-- ------------------------------------------------------------------------------------------------

-- Keeps where the function says it is, unless that is known already, or could not be called.
--
-- request: {function_url: text or null}
create or replace function whatsapp_monitor.note_function_url(request jsonb)
returns void
language plpgsql
set search_path = ''
as $$
begin
  if request ->> 'function_url' is null then
    return;
  end if;
  -- Nobody waits for another who writes it.
  perform from whatsapp_monitor.settings t where t.function_url is null for update skip locked;
  if found then
    update whatsapp_monitor.settings set function_url = request ->> 'function_url';
  end if;
exception when check_violation then
  null; -- no URL
end
$$;

-- ------------------------------------------------------------------------------------------------
-- Forgetting
-- ------------------------------------------------------------------------------------------------

-- Removes old runs from cron.job_run_details, which pg_cron never does: those of our jobs alone, some
-- thousands, once an hour. It spoils nothing when it fails.
create or replace function whatsapp_monitor.clean_up_runs_if_due()
returns void
language plpgsql
set search_path = ''
as $$
begin
  update whatsapp_monitor.installation
  set runs_cleaned_at = clock_timestamp(), runs_error = null
  where runs_cleaned_at <= clock_timestamp() - interval '1 hour';
  if not found then
    return;
  end if;
  delete from cron.job_run_details d
  where d.runid in (
    select r.runid
    from cron.job_run_details r
    cross join whatsapp_monitor.settings t
    where r.database = current_database() and whatsapp_monitor.calls_monitor(r.command)
      and coalesce(r.end_time, r.start_time)
          < clock_timestamp() - make_interval(days => t.ledger_days)
    limit 5000);
exception when others then
  update whatsapp_monitor.installation
  set runs_cleaned_at = clock_timestamp(), runs_error = sqlerrm;
end
$$;

-- WhatsApp connection monitor: the truth in the user's tables.
--
-- The rows that name an instance are told how it is: by UPDATE of columns that exist, compared with
-- what they say at present, because others write there too. Whatever goes wrong in these tables stays
-- there: our own state commits, the row is tried again at the next check, and write_backs shows it.

-- The QR code of the moment: somebody is to scan it there.
alter table whatsapp_monitor.instances
  add column if not exists qr_code    text check (length(qr_code) <= 65536),
  add column if not exists qr_code_at timestamptz;
comment on column whatsapp_monitor.instances.qr_code is
  'The QR code that was last told of while a person must scan, kept for as long as that is so; it holds for some 45 seconds.';

alter table whatsapp_monitor.sources
  add column if not exists agreed bytea;
comment on column whatsapp_monitor.sources.agreed is
  'SHA-256 of the version of the user''s row and of what the monitor knew when the one was found to say the other: while neither has changed, nothing has to be compared.';

-- ------------------------------------------------------------------------------------------------
-- What a row should say
-- ------------------------------------------------------------------------------------------------

-- The one sentence for people about what is wrong with an instance; null where nothing is.
create or replace function whatsapp_monitor.error_message(status text, reason_text text)
returns text
language sql immutable parallel safe
set search_path = ''
as $$
  select case when status <> 'connected' then coalesce(reason_text, case status
    when 'disconnected' then
      'A conexão com o WhatsApp caiu; o gateway está tentando reconectar.'
    when 'waiting_qr' then
      'O WhatsApp não está conectado; escaneie o QR code.'
    else
      'A conexão com o WhatsApp não está funcionando.'
  end) end
$$;

-- The columns that show a QR code, in either table, as far as we know one; a null in it: kept. One that
-- somebody else has put there stays where ours is too old to be scanned.
create or replace function whatsapp_monitor.wanted_qr_code(
  present jsonb, instance whatsapp_monitor.instances)
returns jsonb
language sql stable
set search_path = ''
as $$
  select case when instance.qr_code_at > clock_timestamp() - interval '1 minute'
                   and instance.qr_code is distinct from
                       coalesce(present ->> 'qr_code', present ->> 'whatsapp_qr_code')
    then jsonb_build_object('whatsapp_qr_code', instance.qr_code, 'qr_code', instance.qr_code,
                            'qr_code_updated_at', instance.qr_code_at)
    else '{}' end
$$;

-- What has to change in a row of the user's table (as jsonb) so that it says what we know of the
-- instance. Empty where it says so already, and where it names the instance no longer. A column that
-- the row does not have is left out, and so is what is to be kept.
create or replace function whatsapp_monitor.changes(
  source_table text, present jsonb, instance whatsapp_monitor.instances)
returns jsonb
language plpgsql stable
set search_path = ''
as $$
declare
  v_status    text    := instance.status;
  v_connected boolean := case
    when v_status = 'connected' then true
    when v_status = 'connecting' and not instance.is_down then null
    else false
  end;
  v_says      boolean;      -- the row: connected
  v_since     timestamptz;  -- the row: connected the last time
  v_url       text;         -- the row: its gateway
  v_names     boolean;      -- the row: this instance
  v_wanted    jsonb;        -- a null in it: kept
begin
  if v_status = 'unknown' then
    return '{}';
  end if;

  case source_table
  when 'organization_channel_config' then
    v_names  := (present ->> 'whatsapp_enabled' = 'true') is not false
            and (btrim(present ->> 'whatsapp_instance_name') = btrim(instance.name)) is not false;
    v_url    := present ->> 'whatsapp_api_url';
    v_says   := case when present ? 'whatsapp_connected' then present ->> 'whatsapp_connected' = 'true'
                     else present ->> 'whatsapp_connection_status' = 'connected' end;
    v_since  := present ->> 'whatsapp_last_connected_at';
    v_wanted := jsonb_build_object(
      'whatsapp_connected', v_connected,
      'whatsapp_connection_status', case
        when v_status in ('connected', 'connecting', 'waiting_qr', 'disconnected') then v_status
        else 'error' end);
  when 'channel_instances' then
    v_names  := (present ->> 'is_enabled' = 'true') is not false
            and (btrim(present ->> 'instance_name') = btrim(instance.name)) is not false;
    v_url    := present ->> 'api_url';
    v_says   := present ->> 'status' = 'connected';
    v_since  := present ->> 'last_connected_at';
    -- Its CHECK knows no "connecting" and no "waiting_qr".
    v_wanted := jsonb_build_object(
      'status', case
        when v_status in ('connected', 'disconnected') then v_status
        when v_status = 'waiting_qr' then 'qr_pending'
        when v_status = 'connecting' then null
        else 'error' end);
  end case;

  if not v_names or present ->> 'deleted_at' is not null or not exists (
       select from whatsapp_monitor.gateways g
       where g.id = instance.gateway_id
         -- Most are spelled as ours is, which costs less to see.
         and (g.url = v_url or g.url = whatsapp_monitor.normalize_url(v_url)) is not false) then
    return '{}';
  end if;

  if v_status = 'connected' then
    -- Since when it is connected is news only to a row that did not say connected; it never goes back.
    v_since := case when v_says and v_since is not null then null
                    else greatest(v_since, coalesce(instance.status_since, clock_timestamp())) end;
    v_wanted := v_wanted || case source_table
      when 'organization_channel_config' then jsonb_build_object(
        'whatsapp_phone_number', instance.phone_number,
        'whatsapp_last_connected_at', v_since)
      when 'channel_instances' then jsonb_build_object(
        'connected_identifier', instance.phone_number,
        'profile_name', instance.profile_name,
        'profile_picture_url', instance.profile_picture_url,
        'last_connected_at', v_since)
    end;
  end if;

  -- Not even asked for where it cannot be: this runs for every row at every check.
  if v_status = 'waiting_qr' then
    v_wanted := v_wanted || whatsapp_monitor.wanted_qr_code(present, instance);
  end if;
  v_wanted := jsonb_strip_nulls(v_wanted);
  if v_status <> 'connecting' then
    v_wanted := v_wanted || jsonb_build_object(
      case source_table when 'channel_instances' then 'error_message'
                        else 'whatsapp_error_message' end,
      whatsapp_monitor.error_message(v_status, instance.reason_text));
  end if;

  return (
    select coalesce(jsonb_object_agg(w.key, w.value), '{}')
    from jsonb_each(v_wanted) w
    where present ? w.key and present ->> w.key is distinct from w.value #>> '{}');
end
$$;

-- ------------------------------------------------------------------------------------------------
-- Writing
-- ------------------------------------------------------------------------------------------------

-- The type of the id of the user's table; null where there is no such table. An id is compared in
-- its own type, so that the user's index serves.
create or replace function whatsapp_monitor.type_of_id(source_table text)
returns text
language sql stable
set search_path = ''
as $$
  select format_type(a.atttypid, a.atttypmod)
  from pg_attribute a
  where a.attrelid = to_regclass(format('public.%I', source_table))
    and a.attname = 'id' and not a.attisdropped
$$;

-- What it depends on whether a row of the user's table (c) agrees with an instance (i), as an expression
-- that costs less than to compare them: the row's version, all of the instance that counts, the table
-- and its columns by number (one that is dropped and added again leaves the rows' versions as they are),
-- and the function that compares. Null, so that they are compared, where rows have no version
-- that every change changes: in a view, a foreign table, partitions of whatever kind; and where the
-- transaction that wrote it may be our own, and write again.
--
-- The version is xmin, the number of that transaction. Freezing keeps it; and should it come round
-- after four billion others, it would have to be that of the very next one to write this row.
create or replace function whatsapp_monitor.agreement(source_table text)
returns text
language sql stable
set search_path = ''
as $$
  select coalesce((
    select format($e$case when age(c.xmin) > 0 then sha256(convert_to((%L, c.xmin, i.id, i.status,
                     i.status_since, i.is_down, i.reason_text, i.phone_number, i.profile_name,
                     i.profile_picture_url, i.qr_code_at)::text, 'UTF8')) end$e$,
                  sha256(convert_to(
                    (select concat(p.oid, ' ', p.xmin) from pg_proc p
                     where p.oid = 'whatsapp_monitor.changes'::regproc)
                    || concat(' ', t.oid)
                    || string_agg(concat(' ', a.attnum, ' ', a.attname), '' order by a.attnum),
                    'UTF8')))
    from pg_class t
    join pg_am m on m.oid = t.relam and m.amname = 'heap'
    join pg_attribute a on a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped
    where t.oid = to_regclass(format('public.%I', source_table))
      and t.relkind = 'r' and not t.relhassubclass
    group by t.oid), 'null::bytea')
$$;

-- The rows of a user's table that say something else than we know, as [{source_table, source_id,
-- instance_id}]. Those that agree are noted, never waiting for anybody, and not compared again before
-- something is new. Where they cannot be compared at once, all: each will show what is wrong with it.
create or replace function whatsapp_monitor.rows_to_write(source_table text, instance_ids bigint[])
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  v_rows jsonb;
begin
  if whatsapp_monitor.type_of_id(source_table) is null then
    return '[]';
  end if;
  execute format($query$
    with compared as materialized (
      select s.source_id, s.instance_id, v.agreed,
             whatsapp_monitor.changes($1, to_jsonb(c), i) = '{}' as agrees
      from whatsapp_monitor.sources s
      join whatsapp_monitor.instances i on i.id = s.instance_id
      join public.%I c on c.id = s.source_id::%s
      cross join lateral (select %s as agreed) v
      where s.instance_id = any ($2) and s.source_table = $1
        and (s.agreed = v.agreed) is not true
    ),
    free as (
      select s.source_id, o.agreed
      from compared o
      join whatsapp_monitor.sources s on s.source_table = $1 and s.source_id = o.source_id
      where o.agrees and o.agreed is not null
      for no key update of s skip locked
    ),
    noted as (
      update whatsapp_monitor.sources s
      set agreed = f.agreed
      from free f
      where s.source_table = $1 and s.source_id = f.source_id
    )
    select jsonb_agg(jsonb_build_object('source_table', $1, 'source_id', o.source_id,
                                        'instance_id', o.instance_id))
    from compared o
    where not o.agrees
  $query$, source_table, whatsapp_monitor.type_of_id(source_table),
           whatsapp_monitor.agreement(source_table))
  into v_rows using source_table, instance_ids;
  return coalesce(v_rows, '[]');
exception when assert_failure or others then
  select jsonb_agg(jsonb_build_object('source_table', s.source_table,
           'source_id', s.source_id, 'instance_id', s.instance_id))
  into v_rows
  from whatsapp_monitor.sources s
  where s.instance_id = any (instance_ids) and s.source_table = rows_to_write.source_table;
  return coalesce(v_rows, '[]');
end
$$;

-- Brings one row up to date. Answers what kept it from that, without any value of the row; null
-- where nothing did. A row that fails is left as it was.
create or replace function whatsapp_monitor.write_row(
  source_table text, source_id text, instance_id bigint)
returns text
language plpgsql
set search_path = ''
as $$
declare
  v_type       text := whatsapp_monitor.type_of_id(source_table);
  v_instance   whatsapp_monitor.instances;
  v_row        jsonb;
  v_changes    jsonb;
  v_update     text;
  v_constraint text;
  v_context    text;
begin
  select * into strict v_instance from whatsapp_monitor.instances i where i.id = instance_id;

  -- Somebody may have written since the rows were compared.
  execute format(
    'select to_jsonb(c) from public.%I c where c.id = $1::%s for no key update skip locked',
    source_table, v_type) into v_row using source_id;
  if v_row is null then
    execute format('select to_jsonb(c) from public.%I c where c.id = $1::%s', source_table, v_type)
    into v_row using source_id;
    return case when v_row is not null then 'the row is locked by another session' end;
  end if;
  v_changes := whatsapp_monitor.changes(source_table, v_row, v_instance);
  if v_changes = '{}' then
    return null;
  end if;

  select format('update public.%I c set (%s) = (select %s from jsonb_populate_record(c, $2) r)'
                || ' where c.id = $1::%s returning to_jsonb(c)',
                source_table, string_agg(format('%I', key), ', '),
                string_agg(format('r.%I', key), ', '), v_type)
  into v_update from jsonb_object_keys(v_changes) key;

  -- The user's triggers find what they find when the user writes through the REST interface.
  perform set_config('search_path', 'public, extensions', true);
  execute v_update into v_row using source_id, v_changes;
  -- What would fail at the commit shall fail here.
  set constraints all immediate;
  perform set_config('search_path', '', true);

  return case
    when v_row is null then 'a trigger or a policy keeps the row as it is'
    when whatsapp_monitor.changes(source_table, v_row, v_instance) <> '{}'
      then 'a trigger changes what is written'
  end;
exception when query_canceled or assert_failure or others then
  get stacked diagnostics v_constraint = constraint_name, v_context = pg_exception_context;
  -- A message may quote the row. What raised it is told by name.
  return concat_ws(' ', sqlstate, case sqlstate
      when '40P01' then 'deadlock'
      when '55P03' then 'locked by another session'
      when '57014' then 'took too long'
      when '42501' then 'not permitted'
      when 'P0001' then 'exception'
    end,
    'constraint ' || nullif(v_constraint, ''),
    'in ' || substring(v_context from '(?n)^PL/pgSQL function ((?!(public\.)?whatsapp_monitor[._])[^\s(]+)'));
end
$$;

-- Tells every row that names one of these instances how it is. Two seconds in all: what is left
-- then waits for the next check. Rows that failed before come last, so that they hold up no other.
-- Never fails.
create or replace function whatsapp_monitor.write_back(instance_ids bigint[])
returns void
language plpgsql
set search_path = ''
set lock_timeout = '1s'
as $$
declare
  v_until      timestamptz := clock_timestamp() + interval '2 seconds';
  v_candidates jsonb       := '[]';
  v_failures   jsonb       := '[]';
  v_row        record;
  v_error      text;
begin
  v_candidates := whatsapp_monitor.rows_to_write('channel_instances', instance_ids)
               || whatsapp_monitor.rows_to_write('organization_channel_config', instance_ids);

  for v_row in
    select c.*
    from jsonb_to_recordset(v_candidates)
      as c (source_table text, source_id text, instance_id bigint)
    left join whatsapp_monitor.write_backs w using (source_table, source_id)
    order by w.last_at nulls first, c.source_table, c.source_id
  loop
    if clock_timestamp() < v_until then
      v_error := whatsapp_monitor.write_row(
        v_row.source_table, v_row.source_id, v_row.instance_id);
      if v_error is not null then
        v_failures := v_failures || jsonb_build_object(
          'source_table', v_row.source_table, 'source_id', v_row.source_id,
          'at', clock_timestamp(), 'error', left(v_error, 200));
      end if;
      -- The statement's time is over; it has no limit from here on.
      if v_error like '57014%' then
        v_until := '-infinity';
      end if;
    else
      v_failures := v_failures || jsonb_build_object(
        'source_table', v_row.source_table, 'source_id', v_row.source_id,
        'at', null, 'error', 'no time was left');
    end if;
  end loop;

  begin
    delete from whatsapp_monitor.write_backs w
    using whatsapp_monitor.sources s
    where s.instance_id = any (instance_ids)
      and w.source_table = s.source_table and w.source_id = s.source_id
      and not exists (
        select from jsonb_to_recordset(v_failures) as f (source_table text, source_id text)
        where f.source_table = w.source_table and f.source_id = w.source_id);

    insert into whatsapp_monitor.write_backs as w
      (source_table, source_id, failed_since, last_at, attempts, error)
    select f.source_table, f.source_id, clock_timestamp(), f.at, (f.at is not null)::integer, f.error
    from jsonb_to_recordset(v_failures)
      as f (source_table text, source_id text, at timestamptz, error text)
    order by f.source_table, f.source_id
    on conflict (source_table, source_id) do update
    set last_at  = coalesce(excluded.last_at, w.last_at),
        attempts = w.attempts + excluded.attempts,
        error    = case when excluded.last_at is null then w.error else excluded.error end;
  exception when query_canceled or assert_failure or others then
    raise warning 'whatsapp_monitor: failed write-backs were not recorded: %', sqlstate;
  end;
exception when query_canceled or assert_failure or others then
  raise warning 'whatsapp_monitor: no write-back: %', sqlstate;
end
$$;

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

-- WhatsApp connection monitor: what gateways tell unasked.
--
-- An event is dealt with in two calls, as a tick is: one finds whose it is, notes that it came and
-- stores what it brought; the other writes what follows for the instance. What a storm of them costs is
-- bounded: most need no more than the first call, and that writes at most every few seconds.

-- ------------------------------------------------------------------------------------------------
-- Settings and tables
-- ------------------------------------------------------------------------------------------------

alter table whatsapp_monitor.settings
  add column if not exists message_days integer not null default 30
    check (message_days between 1 and 3650);
comment on column whatsapp_monitor.settings.message_days is
  'Days for which the monitor remembers which messages came, so that none is stored twice, and keeps those that no table chat_webhooks took.';

alter table whatsapp_monitor.instances
  add column if not exists told_by uuid;
comment on column whatsapp_monitor.instances.told_by is
  'The delivery of an event that wrote it last: one that is repeated is written once.';

alter table whatsapp_monitor.webhooks
  add column if not exists connecting_since timestamptz,
  add column if not exists connecting_count bigint not null default 0;
comment on column whatsapp_monitor.webhooks.connecting_count is
  'How many dials events told of within the minute that began at connecting_since.';

create table if not exists whatsapp_monitor.messages (
  instance_id bigint not null references whatsapp_monitor.instances,
  message_id  text not null check (length(message_id) between 1 and 200),
  received_at timestamptz not null default clock_timestamp(),
  payload     jsonb,
  error       text,
  primary key (instance_id, message_id)
);
comment on table whatsapp_monitor.messages is
  'One row per message that came, by WhatsApp''s own id.';
comment on column whatsapp_monitor.messages.payload is
  'The event that brought it, without keys; null where chat_webhooks has it.';
comment on column whatsapp_monitor.messages.error is
  'Why chat_webhooks, which is there, does not have it.';

create index if not exists messages_received on whatsapp_monitor.messages (received_at);

-- ------------------------------------------------------------------------------------------------
-- That it came
-- ------------------------------------------------------------------------------------------------

-- Notes that an event came, unless one of its kind was noted seconds ago or another one is just being
-- noted. More than 60 dials within a minute are a storm: it lasts 5 minutes from the last of them.
-- Answers whether it was noted.
create or replace function whatsapp_monitor.note_event(instance bigint, note text, count bigint)
returns boolean
language plpgsql
set search_path = ''
as $$
declare
  v_now     timestamptz := clock_timestamp();
  v_webhook whatsapp_monitor.webhooks;
begin
  select * into v_webhook from whatsapp_monitor.webhooks w where w.instance_id = instance;
  if (case note when 'connecting' then v_webhook.last_connecting_at
                when 'message'    then v_webhook.last_message_at
                else                   v_webhook.last_event_at end) > v_now - interval '5 seconds' then
    return false;
  end if;
  select * into v_webhook from whatsapp_monitor.webhooks w
  where w.instance_id = instance
  for update skip locked;
  if not found then
    return false;
  end if;

  if note = 'connecting' then
    if v_webhook.connecting_since > v_now - interval '1 minute' then
      v_webhook.connecting_count := v_webhook.connecting_count + note_event.count;
    else
      v_webhook.connecting_since := v_now;
      v_webhook.connecting_count := note_event.count;
    end if;
  end if;
  update whatsapp_monitor.webhooks w
  set last_event_at      = v_now,
      last_connecting_at = case note when 'connecting' then v_now else w.last_connecting_at end,
      last_message_at    = case note when 'message' then v_now else w.last_message_at end,
      connecting_since   = v_webhook.connecting_since,
      connecting_count   = v_webhook.connecting_count,
      storm_until        = case when note = 'connecting' and v_webhook.connecting_count > 60
                                then v_now + interval '5 minutes' else w.storm_until end
  where w.instance_id = instance;
  return true;
end
$$;

-- ------------------------------------------------------------------------------------------------
-- Messages
-- ------------------------------------------------------------------------------------------------

-- Hands a message to chat_webhooks, a row for each organization that names the instance: only columns
-- that exist, as the system that reads them had it. Answers what kept it from that, without any value;
-- null where nothing did. What may pass fails, so that the gateway sends it again.
create or replace function whatsapp_monitor.hand_over(instance bigint, payload jsonb)
returns text
language plpgsql
set search_path = ''
as $$
declare
  v_insert text;
  v_row    record;
  v_count  integer := 0;
begin
  for v_row in
    select distinct jsonb_build_object(
      'organization_id', s.organization_id, 'channel', 'whatsapp', 'event', 'messages.upsert',
      'payload', payload, 'status', 'pending') as wanted
    from whatsapp_monitor.sources s
    where s.instance_id = instance
  loop
    select format('insert into public.chat_webhooks (%1$s) select %1$s '
                  || 'from jsonb_populate_record(null::public.chat_webhooks, $1)',
                  string_agg(format('%I', a.attname), ', '))
    into v_insert
    from pg_attribute a
    where a.attrelid = to_regclass('public.chat_webhooks') and a.attnum > 0
      and not a.attisdropped and a.attgenerated = '' and v_row.wanted ? a.attname;
    -- The user's triggers find what they find when the user writes through the REST interface.
    perform set_config('search_path', 'public, extensions', true);
    execute v_insert using v_row.wanted;
    -- What would fail at the commit shall fail here.
    set constraints all immediate;
    perform set_config('search_path', '', true);
    v_count := v_count + 1;
  end loop;
  return case when v_count = 0 then 'no organization' end;
exception
  when lock_not_available or deadlock_detected or serialization_failure then
    raise;
  when assert_failure or others then
    return sqlstate;
end
$$;

-- Stores messages, each once, however often it comes.
create or replace function whatsapp_monitor.store_messages(instance bigint, messages jsonb)
returns void
language plpgsql
set search_path = ''
set lock_timeout = '2s'
as $$
declare
  v_theirs  boolean := to_regclass('public.chat_webhooks') is not null;
  v_message record;
  v_error   text;
begin
  for v_message in
    -- Always in the same order, so that two deliveries never wait for each other.
    select m.id, m.payload from jsonb_to_recordset(messages) as m (id text, payload jsonb)
    order by m.id
  loop
    insert into whatsapp_monitor.messages (instance_id, message_id, payload)
    values (instance, v_message.id, case when not v_theirs then v_message.payload end)
    on conflict do nothing;
    if found and v_theirs then
      v_error := whatsapp_monitor.hand_over(instance, v_message.payload);
      if v_error is not null then
        update whatsapp_monitor.messages m
        set payload = v_message.payload, error = v_error
        where m.instance_id = instance and m.message_id = v_message.id;
      end if;
    end if;
  end loop;
end
$$;

-- ------------------------------------------------------------------------------------------------
-- Begin
-- ------------------------------------------------------------------------------------------------

-- Begins to deal with an event: finds whose it is by the digest of its secret, notes that it came, and
-- stores its messages. The name that it says must be that of the secret's instance.
--
-- request: {digest: hex, instance: name or null, note: "connecting" | "message" | "other",
--           count: how many it stands for, state: boolean, messages: [{id, payload}]}
-- answer:  {outcome: "accepted" | "unauthorized" | "other_instance", noted: boolean, forward_to,
--           instance: null where the state was not asked for, or {id, now_ms, settings, final_codes,
--           version, state, settled_ms}}
create or replace function public.whatsapp_monitor_begin_event(request jsonb)
returns jsonb
language plpgsql security definer
set search_path = ''
set timezone = 'UTC'
as $$
declare
  v_instance whatsapp_monitor.instances;
  v_settings whatsapp_monitor.settings;
  v_noted    boolean;
begin
  if request ->> 'digest' is null then
    raise exception 'digest is required' using errcode = '22023';
  end if;
  select i.* into v_instance from whatsapp_monitor.instances i
  where i.id = whatsapp_monitor.webhook_of(request ->> 'digest');
  if not found then
    return case when whatsapp_monitor.is_receiver_test(request ->> 'digest')
                then jsonb_build_object('outcome', 'accepted', 'noted', false)
                else jsonb_build_object('outcome', 'unauthorized') end;
  end if;
  if btrim(request ->> 'instance') <> btrim(v_instance.name) then
    return jsonb_build_object('outcome', 'other_instance');
  end if;

  if jsonb_array_length(request -> 'messages') > 0 then
    perform whatsapp_monitor.store_messages(v_instance.id, request -> 'messages');
  end if;
  v_noted := whatsapp_monitor.note_event(
    v_instance.id, request ->> 'note', (request ->> 'count')::bigint);

  select * into strict v_settings from whatsapp_monitor.settings;
  return jsonb_build_object(
    'outcome', 'accepted',
    'noted', v_noted,
    'forward_to', v_settings.forward_to,
    'instance', case when (request -> 'state')::boolean then jsonb_build_object(
      'id', v_instance.id,
      'now_ms', whatsapp_monitor.epoch_ms(clock_timestamp()),
      'settings', jsonb_build_object(
        'interval_s', v_settings.interval_s,
        'down_after_checks', v_settings.down_after_checks,
        'down_after_s', v_settings.down_after_s,
        'up_after_checks', v_settings.up_after_checks),
      'final_codes', (select g.capabilities -> 'final_codes' from whatsapp_monitor.gateways g
                      where g.id = v_instance.gateway_id),
      'version', v_instance.version,
      'state', v_instance.state,
      'settled_ms', whatsapp_monitor.epoch_ms(v_instance.settled_at)) end);
end
$$;

-- ------------------------------------------------------------------------------------------------
-- Finish
-- ------------------------------------------------------------------------------------------------

-- Writes what follows from an event, as finish_tick writes what a tick found: where the version is the
-- one that the caller started from. Where somebody else has written meanwhile the row comes back, and
-- the caller applies the event to that. The next check is brought forward, but whoever holds a lease
-- keeps it. Idempotent by event_id.
--
-- request: {event_id, instance_id, result: as those of finish_tick, or null, qr_code: text or null}
-- answer:  {outcome: "written" | "gone"} or {outcome: "stale", version, state, settled_ms}
create or replace function public.whatsapp_monitor_finish_event(request jsonb)
returns jsonb
language plpgsql security definer
set search_path = ''
set timezone = 'UTC'
as $$
declare
  v_event    uuid  := request ->> 'event_id';
  v_result   jsonb := nullif(request -> 'result', 'null');
  v_instance whatsapp_monitor.instances;
begin
  if v_event is null then
    raise exception 'event_id is required' using errcode = '22023';
  end if;
  select * into v_instance from whatsapp_monitor.instances i
  where i.id = (request ->> 'instance_id')::bigint and i.removed_at is null
  for update;
  if not found then
    return jsonb_build_object('outcome', 'gone');
  end if;

  update whatsapp_monitor.instances i
  set qr_code = request ->> 'qr_code', qr_code_at = clock_timestamp()
  where i.id = v_instance.id and request ->> 'qr_code' is not null;

  if v_result is null and request ->> 'qr_code' is null then
    update whatsapp_monitor.instances i
    set due_at = clock_timestamp()
    where i.id = v_instance.id and i.lease_tick is null and i.due_at > clock_timestamp();
  elsif v_result is null then
    perform whatsapp_monitor.write_back(array[v_instance.id]);
  elsif v_instance.told_by is distinct from v_event then
    v_result := v_result || jsonb_build_object('fence', v_instance.fence);
    if whatsapp_monitor.write_results(v_event, jsonb_build_array(v_result), from_event => true) = '{}' then
      return jsonb_build_object(
        'outcome', 'stale', 'version', v_instance.version, 'state', v_instance.state,
        'settled_ms', whatsapp_monitor.epoch_ms(v_instance.settled_at));
    end if;
    perform whatsapp_monitor.write_back(array[v_instance.id]);
  end if;
  return jsonb_build_object('outcome', 'written');
end
$$;

-- WhatsApp connection monitor: would an event arrive? An event of our own goes the way that gateways'
-- events go, through the public URL, with a secret that is no instance's.

create table if not exists whatsapp_monitor.receiver_test (
  only_row   boolean primary key default true check (only_row),
  secret     text not null default whatsapp_monitor.new_secret(),
  sent_at    timestamptz not null default '-infinity',
  request_id bigint,
  problem    text,
  arrived_at timestamptz
);
comment on table whatsapp_monitor.receiver_test is
  'The last event that we sent to our own receiver: the secret that came with it, pg_net''s number or what kept it from being sent, and when it arrived.';
insert into whatsapp_monitor.receiver_test default values on conflict do nothing;

-- Where gateways reach our receiver; null where nobody has said where the function is.
create or replace function whatsapp_monitor.receiver_url()
returns text
language sql stable
set search_path = ''
as $$
  select regexp_replace(whatsapp_monitor.trigger_url(), '/whatsapp/monitor/start$', '/whatsapp/webhook')
$$;

-- Sends an event to our own receiver. Some seconds later the checklist tells what became of it:
--
--   select whatsapp_monitor.test_receiver();
create or replace function whatsapp_monitor.test_receiver()
returns void
language plpgsql
set search_path = ''
as $$
declare
  v_secret  text := whatsapp_monitor.new_secret();
  v_request bigint;
  v_problem text;
begin
  begin
    if whatsapp_monitor.receiver_url() is null then
      v_problem := 'no_url';
    else
      v_request := net.http_post(
        url                  := whatsapp_monitor.receiver_url(),
        body                 := '{"event": "monitor.test", "data": null}',
        headers              := jsonb_build_object('Content-Type', 'application/json',
                                                   'x-monitor-webhook-secret', v_secret),
        timeout_milliseconds := 5000);
    end if;
  exception when others then
    v_problem := sqlstate;
  end;
  update whatsapp_monitor.receiver_test
  set secret = v_secret, sent_at = clock_timestamp(), request_id = v_request, problem = v_problem,
      arrived_at = null;
end
$$;

-- Once an hour, where there are webhooks that depend on it. Spoils nothing when it fails.
create or replace function whatsapp_monitor.test_receiver_if_due()
returns void
language plpgsql
set search_path = ''
as $$
begin
  if exists (select from whatsapp_monitor.receiver_test t
             where t.sent_at <= clock_timestamp() - interval '1 hour')
     and exists (select from whatsapp_monitor.webhooks) then
    perform whatsapp_monitor.test_receiver();
  end if;
exception when others then
  raise warning 'whatsapp_monitor: no test of the receiver: %', sqlstate;
end
$$;

-- Takes note that the test's event arrived. Answers whether it was that.
create or replace function whatsapp_monitor.is_receiver_test(digest text)
returns boolean
language plpgsql
set search_path = ''
as $$
begin
  update whatsapp_monitor.receiver_test t
  set arrived_at = clock_timestamp()
  where whatsapp_monitor.digest_of(t.secret) = digest
    and t.sent_at > clock_timestamp() - interval '10 minutes';
  return found;
end
$$;

-- Whether the receiver takes events, by the last test.
create or replace function whatsapp_monitor.check_receiver()
returns table (check_name text, ok boolean, detail text, fix text)
language plpgsql stable
set search_path = ''
as $$
declare
  v_test    whatsapp_monitor.receiver_test;
  v_status  integer;
  v_late    boolean;
  v_error   text;
  v_content text;
  v_again   constant text := 'select whatsapp_monitor.test_receiver(); -- e veja de novo em 10 segundos';
  v_deploy  constant text := 'supabase functions deploy rendizy-server --no-verify-jwt';
begin
  check_name := 'webhook recebe';
  select * into strict v_test from whatsapp_monitor.receiver_test;
  if v_test.request_id is not null and to_regclass('net._http_response') is not null then
    select a.status_code, a.timed_out, a.error_msg, a.content
    into v_status, v_late, v_error, v_content
    from net._http_response a
    where a.id = v_test.request_id and a.created > v_test.sent_at - interval '1 minute';
  end if;
  ok := case when v_test.arrived_at is not null then v_status is null or v_status between 200 and 299
             when v_test.sent_at > clock_timestamp() - interval '30 seconds' then null
             when v_test.sent_at = '-infinity' then null
             else false end;
  select w.detail, w.fix into detail, fix
  from (values
    (ok, 'Um evento de teste chegou pela URL pública.', null),
    (v_test.sent_at = '-infinity', 'Ainda não testado.', v_again),
    (ok is null, 'O evento de teste está a caminho.', v_again),
    (v_test.problem = 'no_url', 'Não se sabe onde está a função.',
     $f$update whatsapp_monitor.settings set function_url = 'https://SEU-PROJETO.supabase.co';$f$),
    (v_test.problem is not null, 'O pg_net recusou o pedido: ' || v_test.problem,
     whatsapp_monitor.paste_again()),
    (v_late, 'O receptor não respondeu em 5 s.', v_deploy),
    (v_error is not null, 'Ninguém atende em ' || whatsapp_monitor.receiver_url(), v_deploy),
    (v_status = 401 and v_content !~ 'segredo do webhook',
     '401: quem recusou foi o Supabase, antes da função: verify_jwt está ligado, e cada evento se '
     'perde. Execute a correção no terminal.', v_deploy),
    (v_status between 300 and 399,
     v_status || ': o endereço redireciona, e a Evolution não entrega a redirecionamentos.', v_deploy),
    (v_status in (400, 401, 403, 404, 422),
     v_status || ': cada evento se perde para sempre. A função é de uma versão sem receptor, ou não é '
     'esta.', v_deploy),
    (v_status between 200 and 299,
     v_status || ', mas o evento não chegou ao banco: outra função está nesse endereço.', v_deploy),
    (v_status is not null, v_status || ': a função falhou; a Evolution tentará de novo.', v_deploy),
    (true, 'O evento de teste não teve resposta.', v_again)
  ) as w (holds, detail, fix)
  where w.holds
  limit 1;
  if v_test.sent_at > '-infinity' then
    detail := format('%s (%s)', detail, whatsapp_monitor.ago(v_test.sent_at));
  end if;
  return next;
end
$$;

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

-- WhatsApp connection monitor: one organization's status, for a frontend that polls.

-- ------------------------------------------------------------------------------------------------
-- Who may ask without credentials, and how often a check follows
-- ------------------------------------------------------------------------------------------------

alter table whatsapp_monitor.settings
  add column if not exists public_organizations text[] not null default '{}'
    check (array_position(public_organizations, null) is null);
comment on column whatsapp_monitor.settings.public_organizations is
  'Organizations of which everybody may ask whether they are connected, and nothing else, without any credentials. Empty: none.';

create table if not exists whatsapp_monitor.polls (
  organization_id text primary key,
  checked_at      timestamptz not null
);
comment on table whatsapp_monitor.polls is
  'When somebody who asked for an organization''s status was last handed a check of it. A thousand who ask at once are handed one.';

-- ------------------------------------------------------------------------------------------------
-- Sessions of the user's own application
-- ------------------------------------------------------------------------------------------------

-- What a session token is good for, as {organization_id: text or null, is_superadmin}: null where it
-- is unknown, expired or revoked, and where there is no table of sessions. By access_token where that
-- names one, else by token. A column that is missing counts as null.
create or replace function whatsapp_monitor.session_of(session_token text)
returns jsonb
language plpgsql stable
set search_path = ''
set timezone = 'UTC'
as $$
declare
  v_column       text;
  v_session      jsonb;
  v_organization text;
begin
  for v_column in
    select a.attname from pg_attribute a
    where a.attrelid = to_regclass('public.sessions') and not a.attisdropped
      and a.attname in ('access_token', 'token')
    order by a.attname
  loop
    execute format('select to_jsonb(s) from public.sessions s where s.%I = $1 limit 1', v_column)
    into v_session using session_token;
    exit when v_session is not null;
  end loop;
  if v_session is null
     or v_session ->> 'revoked_at' is not null
     or ((v_session ->> 'expires_at')::timestamptz > clock_timestamp()) is not true
     or (v_session ->> 'access_expires_at')::timestamptz <= clock_timestamp() then
    return null;
  end if;
  v_organization := v_session ->> 'organization_id';
  if v_organization is null and v_session ->> 'user_id' is not null
     and to_regclass('public.users') is not null then
    -- As a literal, so that it is compared in the column's own type.
    execute format('select to_jsonb(u) ->> ''organization_id'' from public.users u where u.id = %L',
                   v_session ->> 'user_id')
    into v_organization;
  end if;
  return jsonb_build_object('organization_id', v_organization,
                            'is_superadmin', (v_session ->> 'type') is not distinct from 'superadmin');
exception
  -- A table of another make. What may pass is passed on: a session is not over because of that.
  when undefined_column or undefined_function or insufficient_privilege or data_exception then
    return null;
end
$$;

-- ------------------------------------------------------------------------------------------------
-- Which instance speaks for an organization
-- ------------------------------------------------------------------------------------------------

-- The instances of an organization, the one that it works with first: those of the newer kind of
-- table, of these the default, then whichever was named first.
create or replace function whatsapp_monitor.instances_of(of_organization text)
returns table (instance_id bigint, place bigint)
language plpgsql stable
set search_path = ''
as $$
declare
  v_ids      text[];
  v_type     text;
  v_defaults text[] := '{}';
begin
  select array_agg(s.source_id) into v_ids
  from whatsapp_monitor.sources s
  where s.organization_id = of_organization and s.source_table = 'channel_instances';
  if cardinality(v_ids) > 1 then
    select t.id_type into v_type
    from whatsapp_monitor.source_tables() t where t.source_table = 'channel_instances';
    begin
      execute format($query$
        select coalesce(array_agg(c.id::text), '{}') from public.channel_instances c
        where c.id = any ($1::%s[]) and to_jsonb(c) ->> 'is_default' = 'true'
      $query$, v_type) into v_defaults using v_ids;
    exception when others then
      null; -- sync_sources says what is wrong with the table
    end;
  end if;
  return query
    with named as (
      select s.instance_id, row_number() over (
               order by s.source_table <> 'channel_instances', s.source_id <> all (v_defaults),
                        s.created_at, s.source_id) as place
      from whatsapp_monitor.sources s
      join whatsapp_monitor.instances i on i.id = s.instance_id and i.removed_at is null
      where s.organization_id = of_organization
    )
    select n.instance_id, min(n.place) from named n group by n.instance_id;
end
$$;

-- ------------------------------------------------------------------------------------------------
-- Status
-- ------------------------------------------------------------------------------------------------

-- How the instances of one organization are, as the last check left them, and whether the caller is to
-- check them: where that was longer ago than the interval, one caller an interval is handed it.
--
-- Where a session is presented it alone decides: its organization is the one, whatever is named, and
-- only a superadmin without one may name one. Otherwise whoever may trigger names one. Everybody else
-- may name one that is public.
--
-- request: {session_token: text or null, caller: null or as may_call takes it, token_digests,
--           organization_id: text or null, check: boolean}
-- answer:  {outcome: "accepted" | "no_organization" | "unauthorized", organization_id,
--           is_public: boolean, check_due: boolean, interval_s,
--           instances: [{instance_name, status, since, reason: {code, text} or null, checked_at,
--           age_ms, phone_number}]}; the first one speaks for the organization
create or replace function public.whatsapp_monitor_status_of(request jsonb)
returns jsonb
language plpgsql security definer
set search_path = ''
set timezone = 'UTC'
as $$
declare
  v_organization text    := request ->> 'organization_id';
  v_is_known     boolean := false;
  v_session      jsonb;
  v_settings     whatsapp_monitor.settings;
  v_interval     interval;
  v_now          timestamptz;
  v_check_due    boolean := false;
begin
  if jsonb_typeof(request -> 'check') is distinct from 'boolean' then
    raise exception 'check is required' using errcode = '22023';
  end if;
  select * into strict v_settings from whatsapp_monitor.settings;
  v_interval := make_interval(secs => v_settings.interval_s);

  if request ->> 'session_token' is not null then
    v_session := whatsapp_monitor.session_of(request ->> 'session_token');
    v_is_known := v_session is not null;
    if v_is_known and (v_session ->> 'organization_id' is not null
                       or not (v_session -> 'is_superadmin')::boolean) then
      v_organization := v_session ->> 'organization_id';
    end if;
  elsif request ->> 'caller' is not null then
    v_is_known := whatsapp_monitor.may_call(request);
  end if;
  if not v_is_known and (v_organization = any (v_settings.public_organizations)) is not true then
    return jsonb_build_object('outcome', 'unauthorized');
  end if;
  if v_organization is null then
    return jsonb_build_object('outcome', 'no_organization');
  end if;

  if not exists (
       select from whatsapp_monitor.sources s where s.organization_id = v_organization) then
    perform whatsapp_monitor.sync_sources_if_older(interval '1 minute');
  end if;
  v_now := clock_timestamp();
  if (request -> 'check')::boolean
     and exists (
       select from whatsapp_monitor.watched_by(v_organization) w
       join whatsapp_monitor.instances i on i.id = w.instance_id
       where i.due_at <= v_now and (i.checked_at > v_now - v_interval) is not true)
     and not exists (
       select from whatsapp_monitor.polls p
       where p.organization_id = v_organization and p.checked_at > v_now - v_interval) then
    -- Of those who come at once the first has it, and the others see that when they get here.
    insert into whatsapp_monitor.polls as p (organization_id, checked_at)
    values (v_organization, v_now)
    on conflict (organization_id) do update set checked_at = excluded.checked_at
    where p.checked_at <= excluded.checked_at - v_interval;
    v_check_due := found;
  end if;

  return jsonb_build_object(
    'outcome', 'accepted',
    'organization_id', v_organization,
    'is_public', not v_is_known,
    'check_due', v_check_due,
    'interval_s', v_settings.interval_s,
    'instances', (
      select coalesce(jsonb_agg(jsonb_build_object(
        'instance_name', i.name,
        'status', i.status,
        'since', i.status_since,
        'reason', case when i.reason_code is not null
                       then jsonb_build_object('code', i.reason_code, 'text', i.reason_text) end,
        'checked_at', i.checked_at,
        'age_ms', whatsapp_monitor.epoch_ms(v_now) - whatsapp_monitor.epoch_ms(i.checked_at),
        'phone_number', i.phone_number
      ) order by o.place), '[]')
      from whatsapp_monitor.instances_of(v_organization) o
      join whatsapp_monitor.instances i on i.id = o.instance_id));
end
$$;

-- WhatsApp connection monitor: does the job run? The part of the checklist from the extensions to
-- pg_cron's runs, and the words that all parts use. Each check_ function gives rows of (check_name, ok,
-- detail, fix): ok is null where it is too early or not possible to tell, fix is what to paste.

-- ------------------------------------------------------------------------------------------------
-- Words
-- ------------------------------------------------------------------------------------------------

-- A length of time for people.
create or replace function whatsapp_monitor.in_words(length interval)
returns text
language sql immutable parallel safe strict
set search_path = ''
as $$
  select case
    when s < 120    then floor(s) || ' s'
    when s < 7200   then floor(s / 60) || ' min'
    when s < 172800 then floor(s / 3600) || ' h'
    else floor(s / 86400) || ' dias'
  end
  from (select greatest(extract(epoch from length), 0) as s) seconds
$$;

-- How long ago a moment was, for people.
create or replace function whatsapp_monitor.ago(moment timestamptz)
returns text
language sql stable
set search_path = ''
as $$
  select 'há ' || whatsapp_monitor.in_words(clock_timestamp() - moment)
$$;

-- The longest silence that is none: three intervals.
create or replace function whatsapp_monitor.patience()
returns interval
language sql stable
set search_path = ''
as $$
  select make_interval(secs => greatest(3 * t.interval_s, 90)) from whatsapp_monitor.settings t
$$;

-- Whether the job was made so recently that nothing can be said yet.
create or replace function whatsapp_monitor.is_new()
returns boolean
language sql stable
set search_path = ''
as $$
  select coalesce(n.scheduled_at > clock_timestamp() - whatsapp_monitor.patience(), false)
  from whatsapp_monitor.installation n
$$;

-- What to do where nothing less helps.
create or replace function whatsapp_monitor.paste_again()
returns text
language sql immutable parallel safe
set search_path = ''
as $$
  select 'Cole e execute de novo, inteiro, o arquivo supabase/CRIAR_CRON_JOB_MONITORAMENTO_WHATSAPP.sql'
$$;

-- ------------------------------------------------------------------------------------------------
-- Extensions
-- ------------------------------------------------------------------------------------------------

-- Whether a version is at least another; what follows a number's end is left out.
create or replace function whatsapp_monitor.is_at_least(version text, minimum text)
returns boolean
language sql immutable parallel safe
set search_path = ''
as $$
  select string_to_array(substring(version from '^\d+(?:\.\d+)*'), '.')::integer[]
         >= string_to_array(minimum, '.')::integer[]
$$;

-- Whether what the job needs is there, and new enough.
create or replace function whatsapp_monitor.check_extensions()
returns table (check_name text, ok boolean, detail text, fix text)
language sql stable
set search_path = ''
as $$
  select w.name,
         case when not w.is_there then false
              else whatsapp_monitor.is_at_least(e.extversion, w.minimum) end,
         case when not w.is_there then 'Não está ativo: ' || w.purpose
              when e.extversion is null then
                'Está aí, mas não como extensão: não dá para saber a versão.'
              when whatsapp_monitor.is_at_least(e.extversion, w.minimum) then
                'Versão ' || e.extversion || '.'
              else format('Versão %s: é preciso a %s ou mais nova. Se a correção não bastar, atualize '
                          'o Postgres do projeto no painel do Supabase.', e.extversion, w.minimum) end,
         case when not w.is_there then whatsapp_monitor.paste_again()
              when e.extversion is not null then format('alter extension %I update;', w.name) end
  from (values
    ('pg_cron', '1.5', to_regprocedure('cron.schedule(text,text,text)') is not null,
     'ninguém acorda o monitor.'),
    ('pg_net', '0.8', to_regprocedure('net.http_post(text,jsonb,jsonb,jsonb,integer)') is not null,
     'o banco de dados não consegue chamar a função.'),
    ('supabase_vault', '0.2', to_regclass('vault.decrypted_secrets') is not null,
     'não há onde guardar o token.')
  ) as w (name, minimum, is_there, purpose)
  left join pg_extension e on e.extname = w.name
$$;

-- ------------------------------------------------------------------------------------------------
-- The job
-- ------------------------------------------------------------------------------------------------

-- What pg_cron makes of a schedule, which is not what it looks like: the seconds from one run to the
-- next, null where that varies, and words.
create or replace function whatsapp_monitor.meaning(schedule text, out seconds integer, out words text)
language plpgsql immutable parallel safe
set search_path = ''
as $$
declare
  v_fields text[] := regexp_split_to_array(btrim(schedule), '\s+');
  v_minute text   := v_fields[1];
  v_hour   text   := v_fields[2];
  v_daily  boolean := v_fields[3:5] = '{*,*,*}';
begin
  if schedule ~* '^\s*\d+\s+seconds?\s*$' then
    seconds := v_fields[1];
    words := format('a cada %s segundos', seconds);
    return;
  end if;
  if not v_daily then
    null;
  elsif v_minute ~ '^(\*|\*/\d+)$' and v_hour = '*' then
    seconds := 60 * coalesce(substring(v_minute from '\d+')::integer, 1);
    words := format('a cada %s minuto(s)', seconds / 60);
  elsif v_minute ~ '^\d+$' and v_hour ~ '^(\*|\*/\d+)$' then
    seconds := 3600 * coalesce(substring(v_hour from '\d+')::integer, 1);
    words := format('a cada %s hora(s), no minuto %s', seconds / 3600, v_minute);
  elsif v_minute ~ '^\d+$' and v_hour ~ '^\d+$' then
    seconds := 86400;
    words := format('uma vez por dia, às %s:%s UTC', v_hour, lpad(v_minute, 2, '0'));
  end if;
  words := coalesce(words, 'em certos minutos, e nunca em segundos');
  if cardinality(v_fields) > 5 then
    words := words || ', e não em segundos: o pg_cron lê os cinco primeiros campos (o primeiro são '
                      'minutos) e ignora o resto';
  end if;
end
$$;

-- The jobs that call the monitor, as far as this user sees them. No command is shown: an old one may
-- hold a key.
create or replace function whatsapp_monitor.visible_jobs()
returns table (jobid bigint, jobname text, schedule text, username text, active boolean,
               is_named boolean, fires boolean)
language plpgsql stable
set search_path = ''
as $$
begin
  if to_regclass('cron.job') is null then
    return;
  end if;
  return query
    select j.jobid, j.jobname::text, j.schedule, j.username, j.active,
           coalesce(j.jobname = 'monitor-whatsapp-connection', false),
           j.command ~ '^\s*select\s+whatsapp_monitor\.fire\(\)\s*;?\s*$'
    from cron.job j
    where j.database = current_database()
      and (j.jobname = 'monitor-whatsapp-connection' or whatsapp_monitor.calls_monitor(j.command))
    order by 6 desc, j.jobid;
end
$$;

-- What the present user cannot see; null where that is nothing.
create or replace function whatsapp_monitor.blind_spot()
returns text
language plpgsql stable
set search_path = ''
as $$
begin
  if to_regclass('cron.job') is not null and row_security_active('cron.job') then
    return format(' O usuário %s não vê jobs de outros donos.', current_user);
  end if;
  return null;
end
$$;

-- Whether there is one job, the right one, and when it really runs.
create or replace function whatsapp_monitor.check_job()
returns table (check_name text, ok boolean, detail text, fix text)
language plpgsql stable
set search_path = ''
as $$
declare
  v_jobs     integer;
  v_list     text;
  v_others   text;
  v_first    record;
  v_interval integer;
begin
  select count(*), string_agg(format('"%s" (id %s, de %s)', j.jobname, j.jobid, j.username), ', '),
         string_agg(format('cron.unschedule(%s)', j.jobid), ', ')
           filter (where j.username <> current_user)
  into v_jobs, v_list, v_others
  from whatsapp_monitor.visible_jobs() j;
  select * into v_first from whatsapp_monitor.visible_jobs() j limit 1;
  select t.interval_s into strict v_interval from whatsapp_monitor.settings t;

  check_name := 'job';
  fix := case when v_jobs > 1 and v_others is not null
              then format('select %s; -- como o dono dele', v_others)
              else 'select whatsapp_monitor.schedule();' end;
  ok := v_jobs = 1 and v_first.is_named and v_first.fires and v_first.active;
  detail := case
    when v_jobs = 0 then
      'O job monitor-whatsapp-connection não existe: nada chama o monitor.'
    when v_jobs > 1 then
      format('Há %s jobs que chamam o monitor, e deve haver um: %s.', v_jobs, v_list)
    when not v_first.active then
      'O job está desativado.'
    when not v_first.fires then
      'O job não chama whatsapp_monitor.fire(): não envia o token.'
    when not v_first.is_named then
      format('O job se chama "%s" e não monitor-whatsapp-connection.', v_first.jobname)
    else format('monitor-whatsapp-connection, ativo, de %s.', v_first.username)
  end || coalesce(whatsapp_monitor.blind_spot(), '');
  return next;

  check_name := 'agenda do job';
  fix := 'select whatsapp_monitor.schedule();';
  select bool_and(case when m.seconds is null and v_interval >= 60 then null
                       else coalesce(m.seconds <= v_interval, false) end),
         string_agg(format('"%s": roda %s.', j.schedule, m.words), ' ')
  into ok, detail
  from whatsapp_monitor.visible_jobs() j
  cross join whatsapp_monitor.meaning(j.schedule) m;
  detail := coalesce(detail, 'Sem job não há agenda.')
         || case when not ok then format(' O monitor deve ser chamado a cada %s s.', v_interval)
                 else '' end;
  return next;
end
$$;

-- Whether pg_cron runs the job.
create or replace function whatsapp_monitor.check_runs()
returns table (check_name text, ok boolean, detail text, fix text)
language plpgsql stable
set search_path = ''
as $$
declare
  v_job bigint := (select j.jobid from whatsapp_monitor.visible_jobs() j limit 1);
  v_run record;
begin
  check_name := 'execuções do job';
  if v_job is null then
    detail := 'Sem job não há execuções.';
    return next;
    return;
  end if;
  select d.status, d.start_time, split_part(d.return_message, E'\n', 1) as message into v_run
  from cron.job_run_details d
  where d.jobid = v_job and d.start_time is not null
  order by d.runid desc
  limit 1;
  if v_run is null then
    ok := case when not whatsapp_monitor.is_new() then false end;
    detail := 'O pg_cron ainda não executou o job.';
    fix := 'Reinicie o projeto no painel do Supabase (Settings > General > Restart project): o pg_cron parou.';
  elsif v_run.start_time < clock_timestamp() - whatsapp_monitor.patience() then
    ok := false;
    detail := format('A última foi %s: o pg_cron parou, ou o job está desativado.',
                     whatsapp_monitor.ago(v_run.start_time));
    fix := 'select whatsapp_monitor.schedule(); -- se não bastar, reinicie o projeto no painel do Supabase';
  elsif v_run.status = 'failed' then
    ok := false;
    -- It may quote what the command holds.
    detail := format('A última, %s, falhou: %s', whatsapp_monitor.ago(v_run.start_time),
                     left(regexp_replace(v_run.message, '[0-9A-Za-z_.-]{32,}', '***', 'g'), 200));
    fix := 'select whatsapp_monitor.schedule();';
  else
    ok := true;
    detail := format('A última %s, sem erro. Isto só diz que a chamada foi pedida; o que deu está em '
                     '"chamadas".', whatsapp_monitor.ago(v_run.start_time));
  end if;
  return next;
end
$$;

-- WhatsApp connection monitor: do the job's calls arrive? The part of the checklist from the URL and
-- the token to the function's answers.

-- ------------------------------------------------------------------------------------------------
-- URL and token
-- ------------------------------------------------------------------------------------------------

-- Whether the job knows where the function is.
create or replace function whatsapp_monitor.check_url()
returns table (check_name text, ok boolean, detail text, fix text)
language sql stable
set search_path = ''
as $$
  select 'URL da função', u.url is not null,
         coalesce(u.url, 'Ainda não se sabe onde está a função; o pg_cron não a chama. A primeira '
                         'chamada de outra origem a informa, ou execute a correção com o endereço do '
                         'projeto.'),
         $f$update whatsapp_monitor.settings set function_url = 'https://SEU-PROJETO.supabase.co';$f$
  from (select whatsapp_monitor.trigger_url() as url) u
$$;

-- Whether what the job sends is what is accepted, and whether the function's environment accepts what
-- is not to be accepted any more.
create or replace function whatsapp_monitor.check_token()
returns table (check_name text, ok boolean, detail text, fix text)
language plpgsql stable
set search_path = ''
as $$
declare
  v_digest  text;
  v_known   record;
  v_said    whatsapp_monitor.environment;
begin
  check_name := 'token';
  fix := 'select whatsapp_monitor.schedule();';
  if to_regclass('vault.decrypted_secrets') is null then
    ok := false;
    detail := 'Sem o Vault não há token.';
    fix := whatsapp_monitor.paste_again();
  else
    v_digest := whatsapp_monitor.digest_of(whatsapp_monitor.trigger_token());
    select t.expires_at, t.created_at into v_known
    from whatsapp_monitor.trigger_tokens t where t.digest = v_digest;
    ok := v_digest is not null and v_known.created_at is not null
      and coalesce(v_known.expires_at, 'infinity') > clock_timestamp();
    detail := case
      when v_digest is null then
        'O Vault não tem o segredo whatsapp_monitor_token, ou ele não é um token.'
      when v_known.created_at is null then
        'O token do Vault não é o que o monitor aceita.'
      when not ok then 'O token do Vault venceu.'
      else 'O mesmo no Vault e no monitor.'
    end;
  end if;
  return next;

  check_name := 'token do ambiente';
  select * into strict v_said from whatsapp_monitor.environment;
  ok := true;
  fix := 'supabase secrets unset WHATSAPP_MONITOR_TOKEN';
  detail := case
    when v_said.reported_at = '-infinity' then 'A função ainda não disse se tem um.'
    when v_said.token_digest is null then
      'A função não tem WHATSAPP_MONITOR_TOKEN, e não precisa.'
    when v_said.token_digest = v_digest then 'O mesmo que o do Vault.'
    else 'A função aceita, além do token do Vault, o de WHATSAPP_MONITOR_TOKEN, que é outro.'
  end;
  if v_said.reported_at = '-infinity' then
    ok := null;
  elsif exists (
    select from whatsapp_monitor.trigger_tokens t
    where t.digest = v_said.token_digest and t.expires_at <= clock_timestamp()
  ) then
    ok := false;
    detail := 'WHATSAPP_MONITOR_TOKEN ainda é um token que foi trocado: quem o tem continua entrando. '
              'Execute a correção no terminal, ou defina lá o token novo.';
  end if;
  return next;
end
$$;

-- ------------------------------------------------------------------------------------------------
-- What became of the calls
-- ------------------------------------------------------------------------------------------------

-- Our requests of the last quarter of an hour, newest first, and what became of each, as a code:
-- ok, waiting, no_url, no_token, failed, unanswered, timeout, unknown_host, refused, token, gateway,
-- not_found, stranger, or the status.
create or replace function whatsapp_monitor.calls()
returns table (at timestamptz, outcome text, status_code integer, problem text)
language plpgsql stable
set search_path = ''
as $$
begin
  if to_regclass('net._http_response') is null then
    return query
      select r.at, coalesce(substring(r.problem from '^no_(?:url|token)$'), 'failed'), null::integer,
             r.problem
      from whatsapp_monitor.requests r
      where r.at > clock_timestamp() - interval '15 minutes' and r.problem is not null
      order by r.at desc;
    return;
  end if;
  return query
    select r.at,
           case
             when r.problem in ('no_url', 'no_token')       then r.problem
             when r.problem is not null                     then 'failed'
             when a.id is null and r.at > clock_timestamp() - interval '30 seconds' then 'waiting'
             when a.id is null                              then 'unanswered'
             when a.timed_out                               then 'timeout'
             when a.error_msg ~* 'resolve'                  then 'unknown_host'
             when a.error_msg is not null                   then 'refused'
             -- Ours says which tick it was; others answer 200 to everything.
             when a.status_code between 200 and 299
                  and a.content ~ '"tick_id"'               then 'ok'
             when a.status_code between 200 and 299         then 'stranger'
             when a.status_code = 401 and a.content ~ 'token do monitor' then 'token'
             when a.status_code = 401                       then 'gateway'
             when a.status_code = 404                       then 'not_found'
             else 'status'
           end,
           a.status_code, r.problem
    from whatsapp_monitor.requests r
    -- A crash of the database begins pg_net's numbers anew.
    left join net._http_response a
      on a.id = r.request_id and a.created between r.at - interval '1 minute'
                                               and r.at + interval '10 minutes'
    where r.at > clock_timestamp() - interval '15 minutes'
    order by r.at desc, r.id desc;
end
$$;

-- What became of our calls, by the last one that is decided.
create or replace function whatsapp_monitor.check_calls()
returns table (check_name text, ok boolean, detail text, fix text)
language plpgsql stable
set search_path = ''
as $$
declare
  v_last   record;
  v_counts record;
  v_url    text := $f$update whatsapp_monitor.settings set function_url = 'https://SEU-PROJETO.supabase.co';$f$;
begin
  check_name := 'chamadas';
  select * into v_last from whatsapp_monitor.calls() c where c.outcome <> 'waiting' limit 1;
  select count(*) as calls, count(*) filter (where c.outcome = 'ok') as good into v_counts
  from whatsapp_monitor.calls() c where c.outcome <> 'waiting';
  if v_last is null then
    ok := case when not whatsapp_monitor.is_new() then false end;
    detail := 'Nenhuma chamada do pg_cron com resposta nos últimos 15 minutos.';
    fix := 'select whatsapp_monitor.schedule();';
    return next;
    return;
  end if;
  ok := v_last.outcome = 'ok';
  select w.detail, w.fix into detail, fix
  from (values
    ('ok', 'A função aceitou.', null),
    ('no_url', 'Não houve chamada: não se sabe onde está a função.', v_url),
    ('no_token', 'Não houve chamada: não há token no Vault.', 'select whatsapp_monitor.schedule();'),
    ('failed', 'Não houve chamada: o pg_net recusou o pedido: ' || v_last.problem,
     whatsapp_monitor.paste_again()),
    ('unanswered', 'O pg_net não enviou o pedido, ou perdeu a resposta: o processo dele pode ter parado.',
     'select net.worker_restart();'),
    ('timeout', 'A função não respondeu em 5 s. Veja os logs dela (Edge Functions > rendizy-server > '
                'Logs): está sobrecarregada, ou o banco de dados não responde a ela.',
     'supabase functions deploy rendizy-server'),
    ('unknown_host', 'O endereço da função não existe: ' || whatsapp_monitor.trigger_url(), v_url),
    ('refused', 'Ninguém atende no endereço da função: ' || whatsapp_monitor.trigger_url(), v_url),
    ('token', '401: a função não aceitou o token.', 'select whatsapp_monitor.schedule();'),
    ('gateway', '401: quem recusou foi o Supabase, antes da função: verify_jwt está ligado. Execute '
                'a correção no terminal.',
     'supabase functions deploy rendizy-server --no-verify-jwt'),
    ('not_found', '404: não há tal função nesse endereço. Execute a correção no terminal, ou corrija '
                  'settings.function_url.',
     'supabase functions deploy rendizy-server'),
    ('stranger', format('Respondeu %s, mas não o monitor: outra função está nesse endereço (a versão '
                        'antiga?). Execute a correção no terminal.', v_last.status_code),
     'supabase functions deploy rendizy-server'),
    ('status', format('%s: a função falhou. Veja os logs dela (Edge Functions > rendizy-server > '
                      'Logs); se é a versão antiga, execute a correção no terminal.',
                      v_last.status_code),
     'supabase functions deploy rendizy-server')
  ) as w (outcome, detail, fix)
  where w.outcome = v_last.outcome;
  detail := format('%s (a última %s; %s de %s boas em 15 minutos)', detail,
                   whatsapp_monitor.ago(v_last.at), v_counts.good, v_counts.calls);
  return next;
end
$$;

-- Whether somebody who is to call is refused.
create or replace function whatsapp_monitor.check_refusals()
returns table (check_name text, ok boolean, detail text, fix text)
language sql stable
set search_path = ''
as $$
  select 'recusas',
         coalesce(bool_and(r.source not in ('pg_cron', 'cron_job_org', 'uptimerobot', 'easycron')), true),
         coalesce('Recusados nos últimos 15 minutos: '
                  || string_agg(format('%s, %s vezes (%s)', r.source, r.times, r.why), '; ') || '.',
                  'Ninguém foi recusado nos últimos 15 minutos.'),
         $f$select decrypted_secret from vault.decrypted_secrets where name = 'whatsapp_monitor_token'; -- o token que o serviço externo deve enviar$f$
  from (
    select r.source, sum(r.count) as times,
           string_agg(distinct case r.why when 'no_token' then 'sem token'
                                          when 'bad_token' then 'token errado'
                                          else 'organização desconhecida' end, ', ') as why
    from whatsapp_monitor.refusals r
    where r.minute > clock_timestamp() - interval '15 minutes'
    group by r.source
    order by r.source
  ) r
$$;

-- WhatsApp connection monitor: is the work done? The part of the checklist from the ticks to the user's
-- tables, and the checklist itself.

-- ------------------------------------------------------------------------------------------------
-- Ticks
-- ------------------------------------------------------------------------------------------------

-- The triggers that come by a schedule and are for all organizations, of the last day.
create or replace view whatsapp_monitor.scheduled_triggers as
select t.id, t.source, t.started_at, t.late_ms
from whatsapp_monitor.ticks t
where t.run_id = t.id and t.organization_id is null
  and t.source not in ('poll', 'webhook', 'person')
  and t.started_at > clock_timestamp() - interval '1 day';
comment on view whatsapp_monitor.scheduled_triggers is
  'The triggers of the last day that come by a schedule and are for all organizations.';

-- Whether ticks arrive, how late, by whom, and whether they come to their end.
create or replace function whatsapp_monitor.check_ticks()
returns table (check_name text, ok boolean, detail text, fix text)
language plpgsql stable
set search_path = ''
as $$
declare
  v_patience interval    := whatsapp_monitor.patience();
  v_now      timestamptz := clock_timestamp();
  v_fix      text        := 'select whatsapp_monitor.schedule();';
  v_last     timestamptz;
  v_cron     timestamptz;
  v_external record;
  v_by       text;
  v_gap      interval;
  v_late     bigint;
  v_done     timestamptz;
  v_dead     record;
begin
  select max(t.started_at), max(t.started_at) filter (where t.source = 'pg_cron')
  into v_last, v_cron
  from whatsapp_monitor.scheduled_triggers t;
  select string_agg(format('%s %s', s.source, s.times), ', ' order by s.times desc, s.source) into v_by
  from (select t.source, count(*) as times from whatsapp_monitor.scheduled_triggers t
        where t.started_at > v_now - interval '1 hour' group by t.source) s;

  check_name := 'ticks';
  fix := v_fix;
  if v_last is null then
    ok := case when not whatsapp_monitor.is_new() then false end;
    detail := 'Nenhum no último dia.';
  else
    ok := v_last > v_now - v_patience;
    detail := format('O último %s; na última hora: %s.', whatsapp_monitor.ago(v_last),
                     coalesce(v_by, 'nenhum'));
  end if;
  return next;

  check_name := 'pontualidade';
  select max(g.gap), max(g.late_ms) filter (where g.source = 'pg_cron') into v_gap, v_late
  from (select t.source, t.late_ms, t.started_at,
               t.started_at - lag(t.started_at) over (order by t.started_at) as gap
        from whatsapp_monitor.scheduled_triggers t) g
  where g.started_at > v_now - interval '15 minutes';
  ok := v_gap <= v_patience;
  detail := case when v_gap is null then 'Ainda não há dois ticks seguidos.'
                 else format('O maior intervalo entre dois ticks em 15 minutos foi de %s%s.',
                             whatsapp_monitor.in_words(v_gap),
                             coalesce('; o pg_cron atrasou no máximo ' || round(v_late / 1000.0)
                                      || ' s', '')) end;
  fix := 'select * from whatsapp_monitor.triggers order by at desc limit 50; -- quem chamou, quando e com que atraso';
  return next;

  check_name := 'pg_cron em serviço';
  select t.source, t.started_at into v_external
  from whatsapp_monitor.scheduled_triggers t
  where t.source <> 'pg_cron' and t.started_at > v_now - interval '15 minutes'
  order by t.started_at desc
  limit 1;
  ok := case when v_cron > v_now - v_patience then true
             when whatsapp_monitor.is_new() then null
             when v_external.source is not null then false end;
  detail := case
    when v_cron > v_now - v_patience then
      format('Chamou %s.', whatsapp_monitor.ago(v_cron))
    when v_external.source is not null then
      format('O pg_cron está calado %s; quem ainda chama é %s, %s. As linhas "job" e "chamadas" dizem '
             'por quê.', coalesce(whatsapp_monitor.ago(v_cron), 'há mais de um dia'),
             v_external.source, whatsapp_monitor.ago(v_external.started_at))
    else 'Ninguém chama por ele; veja "ticks".' end;
  fix := v_fix;
  return next;

  check_name := 'batimento';
  select max(l.at) into v_done from whatsapp_monitor.signs_of_life l;
  select count(*) as ticks, max(t.started_at) as last into v_dead
  from whatsapp_monitor.ticks t
  where t.started_at > v_now - interval '15 minutes'
    and t.finished_at is null and t.lease_until <= v_now;
  ok := case when v_done is null and whatsapp_monitor.is_new() then null
             else coalesce(v_done > v_now - v_patience and (v_dead.last < v_done) is not false, false)
        end;
  detail := coalesce('O último tick terminou ' || whatsapp_monitor.ago(v_done) || '.',
                     'Nenhum tick terminou ainda.')
         || case when v_dead.ticks > 0
                 then format(' Morreram no meio %s em 15 minutos: veja os logs da função.', v_dead.ticks)
                 else '' end;
  fix := v_fix;
  return next;
end
$$;

-- ------------------------------------------------------------------------------------------------
-- Instances
-- ------------------------------------------------------------------------------------------------

-- Whether there is something to watch, and whether each is watched.
create or replace function whatsapp_monitor.check_instances()
returns table (check_name text, ok boolean, detail text, fix text)
language plpgsql stable
set search_path = ''
as $$
declare
  v_late timestamptz := clock_timestamp() - whatsapp_monitor.patience();
  v_all  record;
begin
  select count(*) as number,
         string_agg(distinct i.status, ', ') as statuses,
         -- Of one whose gateway is away nothing is asked.
         count(*) filter (where coalesce(i.checked_at, i.created_at) < v_late
                            and i.status <> 'gateway_unreachable') as late,
         count(*) filter (where i.checked_at is null) as never,
         min(i.checked_at) filter (where i.status <> 'gateway_unreachable') as oldest,
         (array_agg(i.name order by i.checked_at nulls first)
            filter (where coalesce(i.checked_at, i.created_at) < v_late
                      and i.status <> 'gateway_unreachable'))[1:3] as late_names
  into v_all
  from whatsapp_monitor.instances i
  where i.removed_at is null;

  check_name := 'instâncias';
  ok := v_all.number > 0;
  detail := case when ok then format('%s em observação: %s.', v_all.number, v_all.statuses)
                 else 'Ainda não há nenhuma: cadastre a primeira com a correção.' end;
  fix := $f$select * from whatsapp_monitor.add_instance('organização', 'https://evolution.exemplo.com', 'instância', 'chave');$f$;
  return next;

  check_name := 'checagens';
  ok := case when v_all.number > 0 and (v_all.late > 0 or v_all.never < v_all.number)
             then v_all.late = 0 end;
  detail := case
    when v_all.number = 0 then 'Sem instâncias não há checagens.'
    when v_all.late > 0 then
      format('%s de %s sem checagem recente: %s.', v_all.late, v_all.number,
             array_to_string(v_all.late_names, ', '))
    when v_all.never = v_all.number then 'Ainda nenhuma.'
    else format('Todas em dia; a mais antiga %s.', whatsapp_monitor.ago(v_all.oldest)) end;
  fix := 'select * from whatsapp_monitor.triggers order by at desc limit 50; -- o que foi feito do trabalho';
  return next;
end
$$;

-- The rows of the user's tables that are switched on, of organizations that have nothing watched, and
-- lack something that it takes to watch them.
create or replace function whatsapp_monitor.incomplete_sources()
returns table (source_table text, source_id text, organization_id text, missing text)
language plpgsql stable
set search_path = ''
as $$
declare
  v_table record;
begin
  for v_table in
    select * from (values
      ('channel_instances', '{is_enabled}'::text[], '{api_url,instance_name,api_key}'::text[],
       '{"channel": "whatsapp", "provider": "evolution"}'::jsonb),
      ('organization_channel_config', '{whatsapp_enabled}',
       '{whatsapp_api_url,whatsapp_instance_name,whatsapp_api_key}', '{}')
    ) as k (name, switches, needed, kind)
    where to_regclass('public.' || k.name) is not null
  loop
    return query execute format($query$
      select %L, r.row ->> 'id', r.row ->> 'organization_id', m.missing
      -- Limited by nothing, so that each row becomes jsonb once.
      from (select to_jsonb(c) as row from public.%I c offset 0) r
      cross join lateral (
        select string_agg(n.name, ', ') as missing from unnest($2) as n (name)
        where coalesce(btrim(r.row ->> n.name), '') = '') m
      where (r.row ->> $1) = 'true' and r.row ->> 'deleted_at' is null and r.row @> $3
        and m.missing is not null
        and not exists (select from whatsapp_monitor.sources s
                        where s.organization_id = r.row ->> 'organization_id')
    $query$, v_table.name, v_table.name)
    using v_table.switches[1], v_table.needed, v_table.kind;
  end loop;
end
$$;

-- Whether the user's tables can be read, hold what it takes, and take what we write.
create or replace function whatsapp_monitor.check_sources()
returns table (check_name text, ok boolean, detail text, fix text)
language plpgsql stable
set search_path = ''
as $$
declare
  v_sync   whatsapp_monitor.source_sync;
  v_rows   integer;
  v_list   text;
  v_wrong  integer;
  v_which  text;
  v_update text;
begin
  select * into strict v_sync from whatsapp_monitor.source_sync;
  check_name := 'fontes';
  ok := case when v_sync.error is not null then false
             when v_sync.synced_at > '-infinity' and v_sync.waiting = 0 then true end;
  detail := coalesce(left(v_sync.error, 500),
                     case when v_sync.waiting > 0
                          then format('%s linha(s) novas ou alteradas esperam as próximas leituras.',
                                      v_sync.waiting)
                          when v_sync.synced_at > '-infinity'
                          then format('Lidas %s, sem problema.', whatsapp_monitor.ago(v_sync.synced_at))
                          else 'Ainda não foram lidas.' end);
  fix := 'select whatsapp_monitor.sync_sources(); -- depois de corrigir o que está dito ao lado';
  return next;

  select count(*), string_agg(format('public.%s, id %s, sem %s', s.source_table, s.source_id, s.missing),
                              '; ') filter (where s.n <= 3),
         max(format('update public.%s set %s where id = %L;', s.source_table,
                    regexp_replace(s.missing, '([a-z_]+)', '\1 = ''…''', 'g'), s.source_id))
           filter (where s.n = 1)
  into v_rows, v_list, v_update
  from (select i.*, row_number() over (order by i.source_table, i.source_id) as n
        from whatsapp_monitor.incomplete_sources() i) s;
  select count(*), string_agg(format('%s (%s)', i.name, coalesce(i.reason_text, i.reason_code)), '; ')
                     filter (where i.n <= 3)
  into v_wrong, v_which
  from (select i.*, row_number() over (order by i.name) as n from whatsapp_monitor.instances i
        where i.removed_at is null and i.status = 'misconfigured') i;
  check_name := 'credenciais';
  ok := v_rows = 0 and v_wrong = 0;
  detail := case when ok then 'Completas.' else concat_ws(' ',
              case when v_rows > 0 then format('%s linha(s) ativa(s) incompleta(s): %s.', v_rows, v_list) end,
              case when v_wrong > 0 then format('%s instância(s) com dados errados: %s', v_wrong, v_which) end)
            end;
  fix := coalesce(v_update, (
    select format('update public.%s set %s = ''a chave certa'' where id = %L;', s.source_table,
                  case s.source_table when 'channel_instances' then 'api_key'
                                      else 'whatsapp_api_key' end, s.source_id)
    from whatsapp_monitor.instances i
    join whatsapp_monitor.sources s on s.instance_id = i.id
    where i.removed_at is null and i.status = 'misconfigured'
    order by i.name, s.created_at
    limit 1));
  return next;

  check_name := 'gravação nas suas tabelas';
  select count(*), string_agg(format('public.%s, id %s, %s: %s', w.source_table, w.source_id,
                                     whatsapp_monitor.ago(w.failed_since), w.error), '; ')
                     filter (where w.n <= 3)
  into v_rows, v_list
  from (select b.*, row_number() over (order by b.failed_since) as n
        from whatsapp_monitor.write_backs b) w;
  ok := v_rows = 0;
  detail := case when ok then 'Em dia.'
                 else format('%s linha(s) não recebem o que o monitor vê: %s.', v_rows, v_list) end;
  fix := 'select * from whatsapp_monitor.write_backs; -- o erro diz o que impede: um gatilho, uma política, um bloqueio';
  return next;
end
$$;

-- Whether somebody waits for a person: alerts that nobody got, instances that are left alone.
create or replace function whatsapp_monitor.check_people()
returns table (check_name text, ok boolean, detail text, fix text)
language plpgsql stable
set search_path = ''
as $$
declare
  v_number integer;
  v_list   text;
  v_beat   record;
begin
  check_name := 'avisos';
  select count(*), max(a.error) into v_number, v_list
  from whatsapp_monitor.alerts a
  where a.gave_up_at > clock_timestamp() - interval '1 day' and a.error <> 'not_wanted';
  ok := v_number = 0;
  detail := case
    when not ok then format('%s não chegaram no último dia; o último erro: %s.', v_number, v_list)
    when exists (select from whatsapp_monitor.settings t where t.alert_url is null)
      then 'Desligados: settings.alert_url está vazio.'
    else 'Nenhum se perdeu no último dia.' end;
  fix := $f$update whatsapp_monitor.settings set alert_url = 'https://o-endereço-que-recebe-os-avisos';$f$;
  return next;

  check_name := 'heartbeat_url';
  select t.heartbeat_url is not null as wanted, h.given_at, h.failed_since, h.error
  into strict v_beat
  from whatsapp_monitor.settings t, whatsapp_monitor.heartbeat h;
  ok := case when v_beat.wanted and v_beat.given_at = '-infinity' then null
             else not v_beat.wanted or v_beat.error is null end;
  detail := case
    when not v_beat.wanted then 'Desligada: settings.heartbeat_url está vazio.'
    when v_beat.given_at = '-infinity' then 'Ainda não foi avisada.'
    when ok then format('Avisada %s.', whatsapp_monitor.ago(v_beat.given_at))
    else format('Não aceita os avisos desde %s: %s.',
                whatsapp_monitor.ago(v_beat.failed_since), v_beat.error) end;
  fix := $f$update whatsapp_monitor.settings set heartbeat_url = 'https://o-endereço-que-espera-os-avisos';$f$;
  return next;

  check_name := 'automação';
  select count(*), string_agg(distinct h.name, ', ') filter (where h.n <= 3),
         string_agg(format('select whatsapp_monitor.resume(%L, %L);', h.organization_id, h.name), ' ')
           filter (where h.n <= 3)
  into v_number, v_list, fix
  from (select i.name, s.organization_id, row_number() over (order by i.name, i.id) as n
        from whatsapp_monitor.instances i
        cross join lateral (
          select s.organization_id from whatsapp_monitor.sources s
          where s.instance_id = i.id order by s.created_at, s.source_table, s.source_id limit 1) s
        where i.removed_at is null and i.state ->> 'halted_at' is not null) h;
  ok := v_number = 0;
  detail := case when ok then 'O monitor pode agir em todas as instâncias.'
                 else format('Parada em %s, porque uma ação piorou a conexão: %s. Verifique no celular '
                             'e libere com a correção.', v_number, v_list) end;
  return next;
end
$$;

-- ------------------------------------------------------------------------------------------------
-- Bounds
-- ------------------------------------------------------------------------------------------------

-- What it costs, and whether what it leaves behind is removed again.
create or replace function whatsapp_monitor.check_bounds()
returns table (check_name text, ok boolean, detail text, fix text)
language plpgsql stable
set search_path = ''
as $$
declare
  c_free constant bigint := 500000;
  c_paid constant bigint := 2000000;
  v_now    timestamptz := clock_timestamp();
  v_first  timestamptz;
  v_calls  bigint;
  v_month  bigint;
  v_keeper record;
begin
  -- Refused calls count as well. Answers without a tick (health, status) leave no trace.
  select min(t.started_at) into v_first from whatsapp_monitor.ticks t
  where t.started_at > v_now - interval '1 day';
  select (select count(*) from whatsapp_monitor.ticks t
          where t.run_id = t.id and not t.follow_up and t.started_at > v_now - interval '1 day')
       + (select coalesce(sum(r.count), 0) from whatsapp_monitor.refusals r
          where r.minute > v_now - interval '1 day')
  into v_calls;
  v_month := v_calls * 30 * 86400 / greatest(extract(epoch from v_now - v_first), 1);

  check_name := 'cota de chamadas';
  ok := case when (v_first > v_now - interval '10 minutes') is not false then null
             when v_month <= c_free then true
             when v_month > c_paid then false end;
  detail := case
    when (v_first > v_now - interval '10 minutes') is not false then
      'Ainda é cedo para projetar. A cada 30 s são 86.400 por mês.'
    else format('Cerca de %s por mês; %s (grátis: 500.000, pago: 2.000.000; consultas de status e '
                'health não aparecem aqui).', v_month,
                case when v_month <= c_free then 'cabe no plano grátis'
                     when v_month <= c_paid then 'só cabe no plano pago'
                     else 'não cabe nem no plano pago' end) end;
  fix := 'select source, count(*) from whatsapp_monitor.triggers where at > now() - interval ''1 day'' group by source; -- quem chama tanto';
  return next;

  select h.cleaned_at, coalesce(h.error, n.runs_error) as error,
         make_interval(days => t.ledger_days + 1) as kept into strict v_keeper
  from whatsapp_monitor.housekeeping h, whatsapp_monitor.installation n, whatsapp_monitor.settings t;
  check_name := 'histórico';
  ok := v_keeper.error is null and not exists (
    select from whatsapp_monitor.ticks t where t.started_at < v_now - v_keeper.kept);
  if ok and to_regclass('cron.job_run_details') is not null then
    ok := not exists (
      select from cron.job_run_details d
      where d.database = current_database() and whatsapp_monitor.calls_monitor(d.command)
        and coalesce(d.end_time, d.start_time) < v_now - v_keeper.kept);
  end if;
  detail := case when ok then format('Limitado a %s dias.',
                                     extract(day from v_keeper.kept)::integer - 1)
                 else coalesce('A limpeza falhou: ' || v_keeper.error,
                               'Há registros mais velhos do que o limite.') end;
  if v_keeper.cleaned_at = '-infinity' and ok then
    ok := null;
    detail := 'A limpeza ainda não rodou.';
  end if;
  fix := 'update whatsapp_monitor.installation set runs_cleaned_at = ''-infinity''; '
         'select whatsapp_monitor.clean_up_runs_if_due(); select whatsapp_monitor.clean_up();';
  return next;
end
$$;

-- ------------------------------------------------------------------------------------------------
-- The checklist
-- ------------------------------------------------------------------------------------------------

-- Is it working? One row a check; ok is null where it is too early or not possible to tell; fix is what
-- to paste where it is false:
--
--   select * from whatsapp_monitor.checklist();
--
-- What keeps one check from looking keeps no other from it.
create or replace function whatsapp_monitor.checklist()
returns table (check_name text, ok boolean, detail text, fix text)
language plpgsql stable
set search_path = ''
as $$
declare
  v_check text;
begin
  foreach v_check in array '{extensions,job,runs,url,token,calls,refusals,receiver,ticks,instances,sources,webhooks,people,bounds}'::text[] loop
    begin
      return query execute format(
        'select c.check_name, c.ok, c.detail, case when not c.ok then c.fix end
         from whatsapp_monitor.%I() c', 'check_' || v_check);
    exception when others then
      return query select v_check, null::boolean,
                          format('Não foi possível olhar: %s', sqlerrm), null::text;
    end;
  end loop;
end
$$;

-- WhatsApp connection monitor: who may call. Last, because it is about all functions.

-- ------------------------------------------------------------------------------------------------
-- Rights
-- ------------------------------------------------------------------------------------------------

-- Supabase grants execute on new functions in public to anon and authenticated by name.
do $$
declare
  v_function regprocedure;
begin
  for v_function in
    select p.oid::regprocedure from pg_proc p
    where p.pronamespace = 'public'::regnamespace and p.proname like 'whatsapp\_monitor\_%'
  loop
    execute format('revoke execute on function %s from public, anon, authenticated', v_function);
    execute format('grant execute on function %s to service_role', v_function);
  end loop;
end
$$;

-- PostgREST learns of new functions.
notify pgrst, 'reload schema';

-- ------------------------------------------------------------------------------------------------
-- Ligar
-- ------------------------------------------------------------------------------------------------

-- As instâncias que as suas tabelas nomeiam.
select whatsapp_monitor.sync_sources_if_older(interval '0');

-- O token no Vault (o que já existe fica) e o job, um só: os antigos que chamam o monitor são removidos.
select whatsapp_monitor.schedule(current_setting('whatsapp_monitor.function_url', true));

commit;

-- ------------------------------------------------------------------------------------------------
-- Verificar
-- ------------------------------------------------------------------------------------------------

select * from whatsapp_monitor.checklist();
