-- Stand-in for pg_cron 1.6: its tables, policies, functions and errors. Nothing runs by itself:
-- ../cron.ts runs the jobs when it is told to.

create schema cron; -- whose use is not granted to anybody

create sequence cron.jobid_seq;
create table cron.job (
  jobid    bigint primary key default nextval('cron.jobid_seq'),
  schedule text not null,
  command  text not null,
  nodename text not null default 'localhost',
  nodeport integer not null default coalesce(inet_server_port(), 5432),
  database text not null default current_database(),
  username text not null default current_user,
  active   boolean not null default true,
  jobname  text,
  constraint jobname_username_uniq unique (jobname, username)
);
alter table cron.job enable row level security;
create policy cron_job_policy on cron.job using (username = current_user);
grant select on cron.job to public;

create sequence cron.runid_seq;
create table cron.job_run_details (
  jobid          bigint,
  runid          bigint primary key default nextval('cron.runid_seq'),
  job_pid        integer,
  database       text,
  username       text,
  command        text,
  status         text,
  return_message text,
  start_time     timestamptz,
  end_time       timestamptz
);
alter table cron.job_run_details enable row level security;
create policy cron_job_run_details_policy on cron.job_run_details using (username = current_user);
grant select, delete on cron.job_run_details to public;
grant select on all sequences in schema cron to public;

-- What it takes for a schedule: seconds, a macro, or five fields; whatever follows them is ignored.
create function cron.demand_schedule(schedule text)
returns void
language plpgsql
as $$
declare
  v_fields text[] := regexp_split_to_array(btrim(schedule), '\s+');
begin
  if schedule ~* '^\s*([1-9]|[1-5][0-9])\s+seconds?\s*$'
     or lower(schedule) in ('@yearly', '@annually', '@monthly', '@weekly', '@daily', '@midnight',
                            '@hourly', '@reboot')
     or cardinality(v_fields) >= 5 and array_to_string(v_fields[1:5], ' ') ~* '^[-0-9a-z*/,$ ]+$' then
    return;
  end if;
  raise exception 'invalid schedule: %', schedule
    using errcode = '22023',
          hint = 'Use cron format (e.g. 5 4 * * *), or interval format ''[1-59] seconds''';
end
$$;

-- A function that has the owner's rights does not know who calls: the caller says it.
create function cron.schedule_as(who text, job_name text, schedule text, command text)
returns bigint
language plpgsql security definer
as $$
#variable_conflict use_variable
declare
  v_id bigint;
begin
  perform cron.demand_schedule(schedule);
  -- Neither the database of a known job nor whether it is active is changed.
  insert into cron.job as j (jobname, schedule, command, username)
  values (job_name, schedule, command, who)
  on conflict on constraint jobname_username_uniq do update
  set schedule = excluded.schedule, command = excluded.command
  returning j.jobid into v_id;
  return v_id;
end
$$;

create function cron.schedule(schedule text, command text)
returns bigint
language sql strict
as $$ select cron.schedule_as(current_user::text, null, schedule, command) $$;

create function cron.schedule(job_name text, schedule text, command text)
returns bigint
language sql
as $$ select cron.schedule_as(current_user::text, job_name, schedule, command) $$;

-- Of others' jobs only a superuser has the say.
create function cron.demand_job(who text, job_id bigint)
returns void
language plpgsql security definer
as $$
declare
  v_owner text := (select j.username from cron.job j where j.jobid = job_id);
begin
  if v_owner is null then
    raise exception 'could not find valid entry for job ''%''', job_id using errcode = 'XX000';
  elsif v_owner <> who and not (select r.rolsuper from pg_roles r where r.rolname = who) then
    raise exception 'permission denied for table job' using errcode = '42501';
  end if;
end
$$;

create function cron.remove(job_id bigint)
returns boolean
language sql security definer
as $$ delete from cron.job where jobid = job_id returning true $$;

create function cron.unschedule(job_id bigint)
returns boolean
language plpgsql strict
as $$
begin
  perform cron.demand_job(current_user::text, job_id);
  return cron.remove(job_id);
end
$$;

create function cron.unschedule(job_name text)
returns boolean
language plpgsql strict
as $$
declare
  v_id bigint := (select j.jobid from cron.job j
                  where j.jobname = job_name and j.username = current_user);
begin
  if v_id is null then
    raise exception 'could not find valid entry for job ''%''', job_name using errcode = 'XX000';
  end if;
  return cron.remove(v_id);
end
$$;

create function cron.alter_as(
  job_id bigint, new_schedule text, new_command text, new_database text, new_username text,
  new_active boolean)
returns void
language sql security definer
as $$
  update cron.job
  set schedule = coalesce(new_schedule, schedule), command = coalesce(new_command, command),
      database = coalesce(new_database, database), username = coalesce(new_username, username),
      active = coalesce(new_active, active)
  where jobid = job_id
$$;

create function cron.alter_job(
  job_id bigint, schedule text default null, command text default null,
  database text default null, username text default null, active boolean default null)
returns void
language plpgsql
as $$
begin
  perform cron.demand_job(current_user::text, job_id);
  if schedule is not null then
    perform cron.demand_schedule(schedule);
  end if;
  perform cron.alter_as(job_id, schedule, command, database, username, active);
end
$$;

create function cron.schedule_in_database(
  job_name text, schedule text, command text, database text, username text default null,
  active boolean default 'true')
returns bigint
language plpgsql
as $$
declare
  v_id bigint := cron.schedule_as(coalesce(username, current_user), job_name, schedule, command);
begin
  perform cron.alter_as(v_id, null, null, database, null, active);
  return v_id;
end
$$;

-- pg_cron leaves it to the administrator to grant these.
revoke all on function cron.alter_job(bigint, text, text, text, text, boolean) from public;
revoke all on function cron.schedule_in_database(text, text, text, text, text, boolean) from public;
