-- Stand-in for pg_net 0.20: its tables, types, functions, defaults and errors. ../net.ts sends what is queued.

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

-- ------------------------------------------------------------------------------------------------
-- The worker, which is there whenever somebody runs it
-- ------------------------------------------------------------------------------------------------

create function net.wake() returns void language sql as $$ select $$;
create function net.worker_restart() returns boolean language sql as $$ select true $$;
create function net.wait_until_running() returns void language sql as $$ select $$;
create function net.check_worker_is_up() returns void language plpgsql as $$ begin end $$;

-- ------------------------------------------------------------------------------------------------
-- URLs
-- ------------------------------------------------------------------------------------------------

create function net._urlencode_string(string varchar)
returns text
language sql immutable strict
as $$
  select coalesce(string_agg(
    case when c ~ '^[A-Za-z0-9_.~-]$' then c
         else upper(regexp_replace(encode(convert_to(c, 'UTF8'), 'hex'), '(..)', '%\1', 'g')) end,
    '' order by n), '')
  from regexp_split_to_table(string, '') with ordinality as t (c, n)
$$;

-- The real one leaves it to curl, which puts a slash behind a host that stands alone.
create function net._encode_url_with_params_array(url text, params_array text[])
returns text
language plpgsql immutable strict
as $$
begin
  if url !~* '^https?://' then
    raise exception 'Unsupported URL scheme';
  elsif url !~* '^https?://[^/?#[:space:]]+([/?#][^[:space:]]*)?$' then
    raise exception 'Malformed input to a URL function';
  end if;
  url := regexp_replace(url, '^([^:]+://[^/?#]+)(?=[?#]|$)', '\1/');
  return url || case when cardinality(params_array) = 0 then '' when url like '%?%' then '&' else '?' end
             || array_to_string(params_array, '&');
end
$$;

-- ------------------------------------------------------------------------------------------------
-- Requests
-- ------------------------------------------------------------------------------------------------

-- What the three have in common; the real ones each do it themselves.
create function net.stand_in_enqueue(
  method text, url text, params jsonb, headers jsonb, body jsonb, timeout_milliseconds integer)
returns bigint
language plpgsql
as $$
#variable_conflict use_variable
declare
  v_id     bigint;
  v_params text[] := array(
    select net._urlencode_string(key) || '=' || net._urlencode_string(value)
    from jsonb_each_text(params));
begin
  insert into net.http_request_queue as q (method, url, headers, body, timeout_milliseconds)
  values (method, net._encode_url_with_params_array(url, v_params), headers,
          convert_to(body::text, 'UTF8'), timeout_milliseconds)
  returning q.id into v_id;
  perform net.wake();
  return v_id;
end
$$;

create function net.http_get(
  url text, params jsonb default '{}', headers jsonb default '{}',
  timeout_milliseconds integer default 5000)
returns bigint
language plpgsql
as $$
begin
  return net.stand_in_enqueue('GET', url, params, headers, null, timeout_milliseconds);
end
$$;

create function net.http_delete(
  url text, params jsonb default '{}', headers jsonb default '{}',
  timeout_milliseconds integer default 5000, body jsonb default null)
returns bigint
language plpgsql
as $$
begin
  return net.stand_in_enqueue('DELETE', url, params, headers, body, timeout_milliseconds);
end
$$;

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
  return net.stand_in_enqueue('POST', url, params, headers, body, timeout_milliseconds);
end
$$;

-- ------------------------------------------------------------------------------------------------
-- Answers
-- ------------------------------------------------------------------------------------------------

create type net.request_status as enum ('PENDING', 'SUCCESS', 'ERROR');
create type net.http_response as (status_code integer, headers jsonb, body text);
create type net.http_response_result as (
  status net.request_status, message text, response net.http_response);

create function net._await_response(request_id bigint)
returns boolean
language plpgsql
as $$
begin
  while not exists (select from net._http_response r where r.id = request_id) loop
    perform pg_sleep(0.05);
  end loop;
  return true;
end
$$;

create function net._http_collect_response(request_id bigint, async boolean default true)
returns net.http_response_result
language plpgsql
as $$
declare
  v_answer net._http_response;
begin
  if not async then
    perform net._await_response(request_id);
  end if;
  select * into v_answer from net._http_response r where r.id = request_id;
  if not found or v_answer.error_msg is not null then
    return ('ERROR', coalesce(v_answer.error_msg, 'request matching request_id not found'), null);
  end if;
  return ('SUCCESS', 'ok', row(v_answer.status_code, v_answer.headers, v_answer.content));
end
$$;

create function net.http_collect_response(request_id bigint, async boolean default true)
returns net.http_response_result
language plpgsql
as $$
begin
  raise notice 'The net.http_collect_response function is deprecated.';
  return net._http_collect_response(request_id, async);
end
$$;
