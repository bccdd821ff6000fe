-- WhatsApp connection monitor: does the job run? The part of the checklist from the extensions to
-- pg_cron's runs, and the words that all parts use. Each check_ function gives rows of (check_name, ok,
-- detail, fix): ok is null where it is too early or not possible to tell, fix is what to paste.

-- ------------------------------------------------------------------------------------------------
-- Words
-- ------------------------------------------------------------------------------------------------

-- A length of time for people.
create or replace function whatsapp_monitor.in_words(length interval)
returns text
language sql immutable parallel safe strict
set search_path = ''
as $$
  select case
    when s < 120    then floor(s) || ' s'
    when s < 7200   then floor(s / 60) || ' min'
    when s < 172800 then floor(s / 3600) || ' h'
    else floor(s / 86400) || ' dias'
  end
  from (select greatest(extract(epoch from length), 0) as s) seconds
$$;

-- How long ago a moment was, for people.
create or replace function whatsapp_monitor.ago(moment timestamptz)
returns text
language sql stable
set search_path = ''
as $$
  select 'há ' || whatsapp_monitor.in_words(clock_timestamp() - moment)
$$;

-- The longest silence that is none: three intervals.
create or replace function whatsapp_monitor.patience()
returns interval
language sql stable
set search_path = ''
as $$
  select make_interval(secs => greatest(3 * t.interval_s, 90)) from whatsapp_monitor.settings t
$$;

-- Whether the job was made so recently that nothing can be said yet.
create or replace function whatsapp_monitor.is_new()
returns boolean
language sql stable
set search_path = ''
as $$
  select coalesce(n.scheduled_at > clock_timestamp() - whatsapp_monitor.patience(), false)
  from whatsapp_monitor.installation n
$$;

-- What to do where nothing less helps.
create or replace function whatsapp_monitor.paste_again()
returns text
language sql immutable parallel safe
set search_path = ''
as $$
  select 'Cole e execute de novo, inteiro, o arquivo supabase/CRIAR_CRON_JOB_MONITORAMENTO_WHATSAPP.sql'
$$;

-- ------------------------------------------------------------------------------------------------
-- Extensions
-- ------------------------------------------------------------------------------------------------

-- Whether a version is at least another; what follows a number's end is left out.
create or replace function whatsapp_monitor.is_at_least(version text, minimum text)
returns boolean
language sql immutable parallel safe
set search_path = ''
as $$
  select string_to_array(substring(version from '^\d+(?:\.\d+)*'), '.')::integer[]
         >= string_to_array(minimum, '.')::integer[]
$$;

-- Whether what the job needs is there, and new enough.
create or replace function whatsapp_monitor.check_extensions()
returns table (check_name text, ok boolean, detail text, fix text)
language sql stable
set search_path = ''
as $$
  select w.name,
         case when not w.is_there then false
              else whatsapp_monitor.is_at_least(e.extversion, w.minimum) end,
         case when not w.is_there then 'Não está ativo: ' || w.purpose
              when e.extversion is null then
                'Está aí, mas não como extensão: não dá para saber a versão.'
              when whatsapp_monitor.is_at_least(e.extversion, w.minimum) then
                'Versão ' || e.extversion || '.'
              else format('Versão %s: é preciso a %s ou mais nova. Se a correção não bastar, atualize '
                          'o Postgres do projeto no painel do Supabase.', e.extversion, w.minimum) end,
         case when not w.is_there then whatsapp_monitor.paste_again()
              when e.extversion is not null then format('alter extension %I update;', w.name) end
  from (values
    ('pg_cron', '1.5', to_regprocedure('cron.schedule(text,text,text)') is not null,
     'ninguém acorda o monitor.'),
    ('pg_net', '0.8', to_regprocedure('net.http_post(text,jsonb,jsonb,jsonb,integer)') is not null,
     'o banco de dados não consegue chamar a função.'),
    ('supabase_vault', '0.2', to_regclass('vault.decrypted_secrets') is not null,
     'não há onde guardar o token.')
  ) as w (name, minimum, is_there, purpose)
  left join pg_extension e on e.extname = w.name
$$;

-- ------------------------------------------------------------------------------------------------
-- The job
-- ------------------------------------------------------------------------------------------------

-- What pg_cron makes of a schedule, which is not what it looks like: the seconds from one run to the
-- next, null where that varies, and words.
create or replace function whatsapp_monitor.meaning(schedule text, out seconds integer, out words text)
language plpgsql immutable parallel safe
set search_path = ''
as $$
declare
  v_fields text[] := regexp_split_to_array(btrim(schedule), '\s+');
  v_minute text   := v_fields[1];
  v_hour   text   := v_fields[2];
  v_daily  boolean := v_fields[3:5] = '{*,*,*}';
begin
  if schedule ~* '^\s*\d+\s+seconds?\s*$' then
    seconds := v_fields[1];
    words := format('a cada %s segundos', seconds);
    return;
  end if;
  if not v_daily then
    null;
  elsif v_minute ~ '^(\*|\*/\d+)$' and v_hour = '*' then
    seconds := 60 * coalesce(substring(v_minute from '\d+')::integer, 1);
    words := format('a cada %s minuto(s)', seconds / 60);
  elsif v_minute ~ '^\d+$' and v_hour ~ '^(\*|\*/\d+)$' then
    seconds := 3600 * coalesce(substring(v_hour from '\d+')::integer, 1);
    words := format('a cada %s hora(s), no minuto %s', seconds / 3600, v_minute);
  elsif v_minute ~ '^\d+$' and v_hour ~ '^\d+$' then
    seconds := 86400;
    words := format('uma vez por dia, às %s:%s UTC', v_hour, lpad(v_minute, 2, '0'));
  end if;
  words := coalesce(words, 'em certos minutos, e nunca em segundos');
  if cardinality(v_fields) > 5 then
    words := words || ', e não em segundos: o pg_cron lê os cinco primeiros campos (o primeiro são '
                      'minutos) e ignora o resto';
  end if;
end
$$;

-- The jobs that call the monitor, as far as this user sees them. No command is shown: an old one may
-- hold a key.
create or replace function whatsapp_monitor.visible_jobs()
returns table (jobid bigint, jobname text, schedule text, username text, active boolean,
               is_named boolean, fires boolean)
language plpgsql stable
set search_path = ''
as $$
begin
  if to_regclass('cron.job') is null then
    return;
  end if;
  return query
    select j.jobid, j.jobname::text, j.schedule, j.username, j.active,
           coalesce(j.jobname = 'monitor-whatsapp-connection', false),
           j.command ~ '^\s*select\s+whatsapp_monitor\.fire\(\)\s*;?\s*$'
    from cron.job j
    where j.database = current_database()
      and (j.jobname = 'monitor-whatsapp-connection' or whatsapp_monitor.calls_monitor(j.command))
    order by 6 desc, j.jobid;
end
$$;

-- What the present user cannot see; null where that is nothing.
create or replace function whatsapp_monitor.blind_spot()
returns text
language plpgsql stable
set search_path = ''
as $$
begin
  if to_regclass('cron.job') is not null and row_security_active('cron.job') then
    return format(' O usuário %s não vê jobs de outros donos.', current_user);
  end if;
  return null;
end
$$;

-- Whether there is one job, the right one, and when it really runs.
create or replace function whatsapp_monitor.check_job()
returns table (check_name text, ok boolean, detail text, fix text)
language plpgsql stable
set search_path = ''
as $$
declare
  v_jobs     integer;
  v_list     text;
  v_others   text;
  v_first    record;
  v_interval integer;
begin
  select count(*), string_agg(format('"%s" (id %s, de %s)', j.jobname, j.jobid, j.username), ', '),
         string_agg(format('cron.unschedule(%s)', j.jobid), ', ')
           filter (where j.username <> current_user)
  into v_jobs, v_list, v_others
  from whatsapp_monitor.visible_jobs() j;
  select * into v_first from whatsapp_monitor.visible_jobs() j limit 1;
  select t.interval_s into strict v_interval from whatsapp_monitor.settings t;

  check_name := 'job';
  fix := case when v_jobs > 1 and v_others is not null
              then format('select %s; -- como o dono dele', v_others)
              else 'select whatsapp_monitor.schedule();' end;
  ok := v_jobs = 1 and v_first.is_named and v_first.fires and v_first.active;
  detail := case
    when v_jobs = 0 then
      'O job monitor-whatsapp-connection não existe: nada chama o monitor.'
    when v_jobs > 1 then
      format('Há %s jobs que chamam o monitor, e deve haver um: %s.', v_jobs, v_list)
    when not v_first.active then
      'O job está desativado.'
    when not v_first.fires then
      'O job não chama whatsapp_monitor.fire(): não envia o token.'
    when not v_first.is_named then
      format('O job se chama "%s" e não monitor-whatsapp-connection.', v_first.jobname)
    else format('monitor-whatsapp-connection, ativo, de %s.', v_first.username)
  end || coalesce(whatsapp_monitor.blind_spot(), '');
  return next;

  check_name := 'agenda do job';
  fix := 'select whatsapp_monitor.schedule();';
  select bool_and(case when m.seconds is null and v_interval >= 60 then null
                       else coalesce(m.seconds <= v_interval, false) end),
         string_agg(format('"%s": roda %s.', j.schedule, m.words), ' ')
  into ok, detail
  from whatsapp_monitor.visible_jobs() j
  cross join whatsapp_monitor.meaning(j.schedule) m;
  detail := coalesce(detail, 'Sem job não há agenda.')
         || case when not ok then format(' O monitor deve ser chamado a cada %s s.', v_interval)
                 else '' end;
  return next;
end
$$;

-- Whether pg_cron runs the job.
create or replace function whatsapp_monitor.check_runs()
returns table (check_name text, ok boolean, detail text, fix text)
language plpgsql stable
set search_path = ''
as $$
declare
  v_job bigint := (select j.jobid from whatsapp_monitor.visible_jobs() j limit 1);
  v_run record;
begin
  check_name := 'execuções do job';
  if v_job is null then
    detail := 'Sem job não há execuções.';
    return next;
    return;
  end if;
  select d.status, d.start_time, split_part(d.return_message, E'\n', 1) as message into v_run
  from cron.job_run_details d
  where d.jobid = v_job and d.start_time is not null
  order by d.runid desc
  limit 1;
  if v_run is null then
    ok := case when not whatsapp_monitor.is_new() then false end;
    detail := 'O pg_cron ainda não executou o job.';
    fix := 'Reinicie o projeto no painel do Supabase (Settings > General > Restart project): o pg_cron parou.';
  elsif v_run.start_time < clock_timestamp() - whatsapp_monitor.patience() then
    ok := false;
    detail := format('A última foi %s: o pg_cron parou, ou o job está desativado.',
                     whatsapp_monitor.ago(v_run.start_time));
    fix := 'select whatsapp_monitor.schedule(); -- se não bastar, reinicie o projeto no painel do Supabase';
  elsif v_run.status = 'failed' then
    ok := false;
    -- It may quote what the command holds.
    detail := format('A última, %s, falhou: %s', whatsapp_monitor.ago(v_run.start_time),
                     left(regexp_replace(v_run.message, '[0-9A-Za-z_.-]{32,}', '***', 'g'), 200));
    fix := 'select whatsapp_monitor.schedule();';
  else
    ok := true;
    detail := format('A última %s, sem erro. Isto só diz que a chamada foi pedida; o que deu está em '
                     '"chamadas".', whatsapp_monitor.ago(v_run.start_time));
  end if;
  return next;
end
$$;
