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
