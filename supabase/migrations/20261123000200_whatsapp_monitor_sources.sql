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
