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
