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
