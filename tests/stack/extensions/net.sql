-- Stand-in for pg_net 0.20: its tables, functions, defaults and errors. ../net.ts sends what is queued.

create schema net;
grant usage on schema net to public;

create domain net.http_method as text
  check (value ilike 'get' or value ilike 'post' or value ilike 'delete');

-- Both are lost in a crash.
create unlogged table net.http_request_queue (
  id                   bigserial,
  method               net.http_method not null,
  url                  text not null,
  headers              jsonb,
  body                 bytea,
  timeout_milliseconds integer not null
);
create unlogged table net._http_response (
  id           bigint,
  status_code  integer,
  content_type text,
  headers      jsonb,
  content      text,
  timed_out    boolean,
  error_msg    text,
  created      timestamptz not null default now()
);
create index on net._http_response (created);
grant all on all tables in schema net to public;
grant all on all sequences in schema net to public;

create function net.encode(text text)
returns text
language sql immutable
as $$
  select coalesce(string_agg(
    case when c ~ '^[A-Za-z0-9_.~-]$' then c
         else upper(regexp_replace(encode(convert_to(c, 'UTF8'), 'hex'), '(..)', '%\1', 'g')) end,
    '' order by n), '')
  from regexp_split_to_table(text, '') with ordinality as t (c, n)
$$;

create function net.enqueue(
  method text, url text, params jsonb, headers jsonb, body jsonb, timeout_milliseconds integer)
returns bigint
language plpgsql
as $$
#variable_conflict use_variable
declare
  v_id    bigint;
  v_query text := (select string_agg(net.encode(key) || '=' || net.encode(value), '&')
                   from jsonb_each_text(params));
begin
  insert into net.http_request_queue as q (method, url, headers, body, timeout_milliseconds)
  values (method,
          url || coalesce(case when url like '%?%' then '&' else '?' end || v_query, ''),
          headers, convert_to(body::text, 'UTF8'), timeout_milliseconds)
  returning q.id into v_id;
  return v_id;
end
$$;

create function net.http_get(
  url text, params jsonb default '{}', headers jsonb default '{}',
  timeout_milliseconds integer default 5000)
returns bigint
language sql
as $$ select net.enqueue('GET', url, params, headers, null, timeout_milliseconds) $$;

create function net.http_delete(
  url text, params jsonb default '{}', headers jsonb default '{}',
  timeout_milliseconds integer default 5000, body jsonb default null)
returns bigint
language sql
as $$ select net.enqueue('DELETE', url, params, headers, body, timeout_milliseconds) $$;

create function net.http_post(
  url text, body jsonb default '{}', params jsonb default '{}',
  headers jsonb default '{"Content-Type": "application/json"}',
  timeout_milliseconds integer default 5000)
returns bigint
language plpgsql
as $$
declare
  v_type text := (select h.value from jsonb_each_text(headers) h
                  where lower(h.key) = 'content-type' limit 1);
begin
  if v_type is null then
    headers := headers || '{"Content-Type": "application/json"}'; -- null stays null
  elsif v_type <> 'application/json' then
    raise exception 'Content-Type header must be "application/json"';
  end if;
  return net.enqueue('POST', url, params, headers, body, timeout_milliseconds);
end
$$;
