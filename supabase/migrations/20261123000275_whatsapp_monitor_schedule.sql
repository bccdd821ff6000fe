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
