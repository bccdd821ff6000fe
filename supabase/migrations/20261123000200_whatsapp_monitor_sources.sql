-- WhatsApp connection monitor: where instances come from.
--
-- The user's own tables name the instances. They are read with dynamic SQL, because a table that
-- does not exist is no error.

-- ------------------------------------------------------------------------------------------------
-- Small helpers
-- ------------------------------------------------------------------------------------------------

-- Milliseconds since the Unix epoch, the form in which moments leave the database.
create or replace function whatsapp_monitor.epoch_ms(moment timestamptz)
returns bigint
language sql immutable parallel safe
set search_path = ''
as $$
  select floor(extract(epoch from moment) * 1000)::bigint
$$;

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

-- Every row of the user's tables that names an instance to watch, credentials complete. What does
-- not fit into an index is left out: one such row must not keep us from all the others.
create or replace function whatsapp_monitor.source_rows()
returns table (source_table text, source_id text, organization_id text, url text, name text)
language plpgsql stable
set search_path = ''
as $$
begin
  if to_regclass('public.organization_channel_config') is not null then
    return query execute $query$
      select 'organization_channel_config', c.id::text, c.organization_id::text,
             whatsapp_monitor.normalize_url(c.whatsapp_api_url), c.whatsapp_instance_name
      from public.organization_channel_config c
      where c.whatsapp_enabled and c.deleted_at is null
        and btrim(c.whatsapp_api_url) <> ''
        and btrim(c.whatsapp_instance_name) <> ''
        and btrim(c.whatsapp_api_key) <> ''
        and octet_length(c.organization_id::text) <= 2000
        and octet_length(c.whatsapp_api_url) <= 2000
        and octet_length(c.whatsapp_instance_name) <= 2000
    $query$;
  end if;
end
$$;

-- The organization and the key of each of these instances, by the source that named it first: a later
-- one must not change what the first one sees. An instance that lost its credentials since the
-- sources were last read is left out.
create or replace function whatsapp_monitor.credentials(instance_ids bigint[])
returns table (instance_id bigint, organization_id text, api_key text)
language plpgsql stable
set search_path = ''
as $$
declare
  id_type text;
begin
  select format_type(a.atttypid, a.atttypmod) into id_type
  from pg_attribute a
  where a.attrelid = to_regclass('public.organization_channel_config') and a.attname = 'id';
  if id_type is null then
    return;
  end if;
  -- The id is compared in its own type, so that the user's index serves.
  return query execute format($query$
    select distinct on (s.instance_id) s.instance_id, s.organization_id, c.whatsapp_api_key
    from whatsapp_monitor.sources s
    join public.organization_channel_config c on c.id = s.source_id::%s
    where s.instance_id = any ($1)
      and s.source_table = 'organization_channel_config'
      and c.whatsapp_enabled and c.deleted_at is null and btrim(c.whatsapp_api_key) <> ''
    order by s.instance_id, s.created_at, s.source_id
  $query$, id_type) using instance_ids;
exception when others then
  -- sync_sources says what is wrong with the table; to fail here as well would undo that.
  return;
end
$$;

-- Makes our instances those that the sources name: adds, moves, retires. What is retired keeps its
-- memory, and has it again when it returns. One statement, so one view of the user's tables. Only
-- rows that change are locked: `on conflict do update` locks all that it meets, and those would be
-- missing from a claim made meanwhile.
create or replace function whatsapp_monitor.sync_sources()
returns void
language sql
set search_path = ''
as $$
  with found as materialized (
    select * from whatsapp_monitor.source_rows()
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
  returned as (
    -- A tick that still holds it keeps it.
    update whatsapp_monitor.instances i
    set removed_at = null, due_at = coalesce(i.lease_until, '-infinity')
    from whatsapp_monitor.gateways g
    where g.id = i.gateway_id and i.removed_at is not null
      and exists (select from found f where f.url = g.url and f.name = i.name)
  ),
  named as (
    insert into whatsapp_monitor.sources as s
      (source_table, source_id, organization_id, instance_id)
    select f.source_table, f.source_id, f.organization_id, i.id
    from found f
    join known_gateways g on g.url = f.url
    join known_instances i on i.gateway_id = g.id and i.name = f.name
    where not exists (
      select from whatsapp_monitor.sources s
      where (s.source_table, s.source_id, s.organization_id, s.instance_id)
          = (f.source_table, f.source_id, f.organization_id, i.id))
    on conflict (source_table, source_id) do update
    set organization_id = excluded.organization_id, instance_id = excluded.instance_id,
        created_at = excluded.created_at
  ),
  no_longer_named as (
    delete from whatsapp_monitor.sources s
    where not exists (
      select from found f
      where f.source_table = s.source_table and f.source_id = s.source_id)
  )
  update whatsapp_monitor.instances i
  set removed_at = clock_timestamp()
  from whatsapp_monitor.gateways g
  where g.id = i.gateway_id and i.removed_at is null
    and not exists (select from found f where f.url = g.url and f.name = i.name)
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
    update whatsapp_monitor.source_sync set synced_at = clock_timestamp(), error = null;
  exception when others then
    update whatsapp_monitor.source_sync set synced_at = clock_timestamp(), error = sqlerrm;
  end;
end
$$;
