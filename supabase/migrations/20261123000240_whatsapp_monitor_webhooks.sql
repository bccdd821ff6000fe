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
