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
-- slash at the end. What is no URL at all stays as it is, and is reported as such by the monitor.
create or replace function whatsapp_monitor.normalize_url(url text)
returns text
language plpgsql immutable parallel safe
set search_path = ''
as $$
declare
  trimmed text   := rtrim(btrim(url, E' \t\r\n'), '/');
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

-- Every row of the user's tables that names an instance to watch, credentials complete.
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
    $query$;
  end if;
end
$$;

-- The organization and the key of each of these instances; one that lost its credentials since the
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
    order by s.instance_id, s.source_id
  $query$, id_type) using instance_ids;
end
$$;

-- Makes our instances those that the sources name: adds, moves, retires. What is retired keeps its
-- memory, and has it again when it returns. One statement, so one view of the user's tables.
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
    select distinct f.url from found f order by f.url
    on conflict do nothing
    returning id, url
  ),
  known_gateways as (
    select id, url from whatsapp_monitor.gateways
    union
    select id, url from new_gateways
  ),
  new_instances as (
    insert into whatsapp_monitor.instances as i (gateway_id, name)
    select distinct g.id, f.name
    from found f
    join known_gateways g on g.url = f.url
    order by g.id, f.name
    on conflict (gateway_id, name) do update set removed_at = null, due_at = '-infinity'
    where i.removed_at is not null
    returning id, gateway_id, name
  ),
  known_instances as (
    select id, gateway_id, name from whatsapp_monitor.instances
    union
    select id, gateway_id, name from new_instances
  ),
  named as (
    insert into whatsapp_monitor.sources as s
      (source_table, source_id, organization_id, instance_id)
    select f.source_table, f.source_id, f.organization_id, i.id
    from found f
    join known_gateways g on g.url = f.url
    join known_instances i on i.gateway_id = g.id and i.name = f.name
    on conflict (source_table, source_id) do update
    set organization_id = excluded.organization_id, instance_id = excluded.instance_id
    where (s.organization_id, s.instance_id)
       is distinct from (excluded.organization_id, excluded.instance_id)
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
