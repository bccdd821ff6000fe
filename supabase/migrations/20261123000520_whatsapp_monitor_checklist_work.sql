-- WhatsApp connection monitor: is the work done? The part of the checklist from the ticks to the user's
-- tables, and the checklist itself.

-- ------------------------------------------------------------------------------------------------
-- Ticks
-- ------------------------------------------------------------------------------------------------

-- The triggers that come by a schedule and are for all organizations, of the last day.
create or replace view whatsapp_monitor.scheduled_triggers as
select t.id, t.source, t.started_at, t.late_ms
from whatsapp_monitor.ticks t
where t.run_id = t.id and t.organization_id is null
  and t.source not in ('poll', 'webhook', 'person')
  and t.started_at > clock_timestamp() - interval '1 day';
comment on view whatsapp_monitor.scheduled_triggers is
  'The triggers of the last day that come by a schedule and are for all organizations.';

-- Whether ticks arrive, how late, by whom, and whether they come to their end.
create or replace function whatsapp_monitor.check_ticks()
returns table (check_name text, ok boolean, detail text, fix text)
language plpgsql stable
set search_path = ''
as $$
declare
  v_patience interval    := whatsapp_monitor.patience();
  v_now      timestamptz := clock_timestamp();
  v_fix      text        := 'select whatsapp_monitor.schedule();';
  v_last     timestamptz;
  v_cron     timestamptz;
  v_external record;
  v_by       text;
  v_gap      interval;
  v_late     bigint;
  v_done     timestamptz;
  v_dead     record;
begin
  select max(t.started_at), max(t.started_at) filter (where t.source = 'pg_cron')
  into v_last, v_cron
  from whatsapp_monitor.scheduled_triggers t;
  select string_agg(format('%s %s', s.source, s.times), ', ' order by s.times desc, s.source) into v_by
  from (select t.source, count(*) as times from whatsapp_monitor.scheduled_triggers t
        where t.started_at > v_now - interval '1 hour' group by t.source) s;

  check_name := 'ticks';
  fix := v_fix;
  if v_last is null then
    ok := case when not whatsapp_monitor.is_new() then false end;
    detail := 'Nenhum no último dia.';
  else
    ok := v_last > v_now - v_patience;
    detail := format('O último %s; na última hora: %s.', whatsapp_monitor.ago(v_last),
                     coalesce(v_by, 'nenhum'));
  end if;
  return next;

  check_name := 'pontualidade';
  select max(g.gap), max(g.late_ms) filter (where g.source = 'pg_cron') into v_gap, v_late
  from (select t.source, t.late_ms, t.started_at,
               t.started_at - lag(t.started_at) over (order by t.started_at) as gap
        from whatsapp_monitor.scheduled_triggers t) g
  where g.started_at > v_now - interval '15 minutes';
  ok := v_gap <= v_patience;
  detail := case when v_gap is null then 'Ainda não há dois ticks seguidos.'
                 else format('O maior intervalo entre dois ticks em 15 minutos foi de %s%s.',
                             whatsapp_monitor.in_words(v_gap),
                             coalesce('; o pg_cron atrasou no máximo ' || round(v_late / 1000.0)
                                      || ' s', '')) end;
  fix := 'select * from whatsapp_monitor.triggers order by at desc limit 50; -- quem chamou, quando e com que atraso';
  return next;

  check_name := 'pg_cron em serviço';
  select t.source, t.started_at into v_external
  from whatsapp_monitor.scheduled_triggers t
  where t.source <> 'pg_cron' and t.started_at > v_now - interval '15 minutes'
  order by t.started_at desc
  limit 1;
  ok := case when v_cron > v_now - v_patience then true
             when whatsapp_monitor.is_new() then null
             when v_external.source is not null then false end;
  detail := case
    when v_cron > v_now - v_patience then
      format('Chamou %s.', whatsapp_monitor.ago(v_cron))
    when v_external.source is not null then
      format('O pg_cron está calado %s; quem ainda chama é %s, %s. As linhas "job" e "chamadas" dizem '
             'por quê.', coalesce(whatsapp_monitor.ago(v_cron), 'há mais de um dia'),
             v_external.source, whatsapp_monitor.ago(v_external.started_at))
    else 'Ninguém chama por ele; veja "ticks".' end;
  fix := v_fix;
  return next;

  check_name := 'batimento';
  select max(l.at) into v_done from whatsapp_monitor.signs_of_life l;
  select count(*) as ticks, max(t.started_at) as last into v_dead
  from whatsapp_monitor.ticks t
  where t.started_at > v_now - interval '15 minutes'
    and t.finished_at is null and t.lease_until <= v_now;
  ok := case when v_done is null and whatsapp_monitor.is_new() then null
             else coalesce(v_done > v_now - v_patience and (v_dead.last < v_done) is not false, false)
        end;
  detail := coalesce('O último tick terminou ' || whatsapp_monitor.ago(v_done) || '.',
                     'Nenhum tick terminou ainda.')
         || case when v_dead.ticks > 0
                 then format(' Morreram no meio %s em 15 minutos: veja os logs da função.', v_dead.ticks)
                 else '' end;
  fix := v_fix;
  return next;
end
$$;

-- ------------------------------------------------------------------------------------------------
-- Instances
-- ------------------------------------------------------------------------------------------------

-- Whether there is something to watch, and whether each is watched.
create or replace function whatsapp_monitor.check_instances()
returns table (check_name text, ok boolean, detail text, fix text)
language plpgsql stable
set search_path = ''
as $$
declare
  v_late timestamptz := clock_timestamp() - whatsapp_monitor.patience();
  v_all  record;
begin
  select count(*) as number,
         string_agg(distinct i.status, ', ') as statuses,
         -- Of one whose gateway is away nothing is asked.
         count(*) filter (where coalesce(i.checked_at, i.created_at) < v_late
                            and i.status <> 'gateway_unreachable') as late,
         count(*) filter (where i.checked_at is null) as never,
         min(i.checked_at) filter (where i.status <> 'gateway_unreachable') as oldest,
         (array_agg(i.name order by i.checked_at nulls first)
            filter (where coalesce(i.checked_at, i.created_at) < v_late
                      and i.status <> 'gateway_unreachable'))[1:3] as late_names
  into v_all
  from whatsapp_monitor.instances i
  where i.removed_at is null;

  check_name := 'instâncias';
  ok := v_all.number > 0;
  detail := case when ok then format('%s em observação: %s.', v_all.number, v_all.statuses)
                 else 'Ainda não há nenhuma: cadastre a primeira com a correção.' end;
  fix := $f$select * from whatsapp_monitor.add_instance('organização', 'https://evolution.exemplo.com', 'instância', 'chave');$f$;
  return next;

  check_name := 'checagens';
  ok := case when v_all.number > 0 and (v_all.late > 0 or v_all.never < v_all.number)
             then v_all.late = 0 end;
  detail := case
    when v_all.number = 0 then 'Sem instâncias não há checagens.'
    when v_all.late > 0 then
      format('%s de %s sem checagem recente: %s.', v_all.late, v_all.number,
             array_to_string(v_all.late_names, ', '))
    when v_all.never = v_all.number then 'Ainda nenhuma.'
    else format('Todas em dia; a mais antiga %s.', whatsapp_monitor.ago(v_all.oldest)) end;
  fix := 'select * from whatsapp_monitor.triggers order by at desc limit 50; -- o que foi feito do trabalho';
  return next;
end
$$;

-- The rows of the user's tables that are switched on, of organizations that have nothing watched, and
-- lack something that it takes to watch them.
create or replace function whatsapp_monitor.incomplete_sources()
returns table (source_table text, source_id text, organization_id text, missing text)
language plpgsql stable
set search_path = ''
as $$
declare
  v_table record;
begin
  for v_table in
    select * from (values
      ('channel_instances', '{is_enabled}'::text[], '{api_url,instance_name,api_key}'::text[],
       '{"channel": "whatsapp", "provider": "evolution"}'::jsonb),
      ('organization_channel_config', '{whatsapp_enabled}',
       '{whatsapp_api_url,whatsapp_instance_name,whatsapp_api_key}', '{}')
    ) as k (name, switches, needed, kind)
    where to_regclass('public.' || k.name) is not null
  loop
    return query execute format($query$
      select %L, r.row ->> 'id', r.row ->> 'organization_id', m.missing
      -- Limited by nothing, so that each row becomes jsonb once.
      from (select to_jsonb(c) as row from public.%I c offset 0) r
      cross join lateral (
        select string_agg(n.name, ', ') as missing from unnest($2) as n (name)
        where coalesce(btrim(r.row ->> n.name), '') = '') m
      where (r.row ->> $1) = 'true' and r.row ->> 'deleted_at' is null and r.row @> $3
        and m.missing is not null
        and not exists (select from whatsapp_monitor.sources s
                        where s.organization_id = r.row ->> 'organization_id')
    $query$, v_table.name, v_table.name)
    using v_table.switches[1], v_table.needed, v_table.kind;
  end loop;
end
$$;

-- Whether the user's tables can be read, hold what it takes, and take what we write.
create or replace function whatsapp_monitor.check_sources()
returns table (check_name text, ok boolean, detail text, fix text)
language plpgsql stable
set search_path = ''
as $$
declare
  v_sync   whatsapp_monitor.source_sync;
  v_rows   integer;
  v_list   text;
  v_wrong  integer;
  v_which  text;
  v_update text;
begin
  select * into strict v_sync from whatsapp_monitor.source_sync;
  check_name := 'fontes';
  ok := case when v_sync.error is not null then false
             when v_sync.synced_at > '-infinity' and v_sync.waiting = 0 then true end;
  detail := coalesce(left(v_sync.error, 500),
                     case when v_sync.waiting > 0
                          then format('%s linha(s) novas ou alteradas esperam as próximas leituras.',
                                      v_sync.waiting)
                          when v_sync.synced_at > '-infinity'
                          then format('Lidas %s, sem problema.', whatsapp_monitor.ago(v_sync.synced_at))
                          else 'Ainda não foram lidas.' end);
  fix := 'select whatsapp_monitor.sync_sources(); -- depois de corrigir o que está dito ao lado';
  return next;

  select count(*), string_agg(format('public.%s, id %s, sem %s', s.source_table, s.source_id, s.missing),
                              '; ') filter (where s.n <= 3),
         max(format('update public.%s set %s where id = %L;', s.source_table,
                    regexp_replace(s.missing, '([a-z_]+)', '\1 = ''…''', 'g'), s.source_id))
           filter (where s.n = 1)
  into v_rows, v_list, v_update
  from (select i.*, row_number() over (order by i.source_table, i.source_id) as n
        from whatsapp_monitor.incomplete_sources() i) s;
  select count(*), string_agg(format('%s (%s)', i.name, coalesce(i.reason_text, i.reason_code)), '; ')
                     filter (where i.n <= 3)
  into v_wrong, v_which
  from (select i.*, row_number() over (order by i.name) as n from whatsapp_monitor.instances i
        where i.removed_at is null and i.status = 'misconfigured') i;
  check_name := 'credenciais';
  ok := v_rows = 0 and v_wrong = 0;
  detail := case when ok then 'Completas.' else concat_ws(' ',
              case when v_rows > 0 then format('%s linha(s) ativa(s) incompleta(s): %s.', v_rows, v_list) end,
              case when v_wrong > 0 then format('%s instância(s) com dados errados: %s', v_wrong, v_which) end)
            end;
  fix := coalesce(v_update, (
    select format('update public.%s set %s = ''a chave certa'' where id = %L;', s.source_table,
                  case s.source_table when 'channel_instances' then 'api_key'
                                      else 'whatsapp_api_key' end, s.source_id)
    from whatsapp_monitor.instances i
    join whatsapp_monitor.sources s on s.instance_id = i.id
    where i.removed_at is null and i.status = 'misconfigured'
    order by i.name, s.created_at
    limit 1));
  return next;

  check_name := 'gravação nas suas tabelas';
  select count(*), string_agg(format('public.%s, id %s, %s: %s', w.source_table, w.source_id,
                                     whatsapp_monitor.ago(w.failed_since), w.error), '; ')
                     filter (where w.n <= 3)
  into v_rows, v_list
  from (select b.*, row_number() over (order by b.failed_since) as n
        from whatsapp_monitor.write_backs b) w;
  ok := v_rows = 0;
  detail := case when ok then 'Em dia.'
                 else format('%s linha(s) não recebem o que o monitor vê: %s.', v_rows, v_list) end;
  fix := 'select * from whatsapp_monitor.write_backs; -- o erro diz o que impede: um gatilho, uma política, um bloqueio';
  return next;
end
$$;

-- Whether somebody waits for a person: alerts that nobody got, instances that are left alone.
create or replace function whatsapp_monitor.check_people()
returns table (check_name text, ok boolean, detail text, fix text)
language plpgsql stable
set search_path = ''
as $$
declare
  v_number integer;
  v_list   text;
  v_beat   record;
begin
  check_name := 'avisos';
  select count(*), max(a.error) into v_number, v_list
  from whatsapp_monitor.alerts a
  where a.gave_up_at > clock_timestamp() - interval '1 day' and a.error <> 'not_wanted';
  ok := v_number = 0;
  detail := case
    when not ok then format('%s não chegaram no último dia; o último erro: %s.', v_number, v_list)
    when exists (select from whatsapp_monitor.settings t where t.alert_url is null)
      then 'Desligados: settings.alert_url está vazio.'
    else 'Nenhum se perdeu no último dia.' end;
  fix := $f$update whatsapp_monitor.settings set alert_url = 'https://o-endereço-que-recebe-os-avisos';$f$;
  return next;

  check_name := 'heartbeat_url';
  select t.heartbeat_url is not null as wanted, h.given_at, h.failed_since, h.error
  into strict v_beat
  from whatsapp_monitor.settings t, whatsapp_monitor.heartbeat h;
  ok := case when v_beat.wanted and v_beat.given_at = '-infinity' then null
             else not v_beat.wanted or v_beat.error is null end;
  detail := case
    when not v_beat.wanted then 'Desligada: settings.heartbeat_url está vazio.'
    when v_beat.given_at = '-infinity' then 'Ainda não foi avisada.'
    when ok then format('Avisada %s.', whatsapp_monitor.ago(v_beat.given_at))
    else format('Não aceita os avisos desde %s: %s.',
                whatsapp_monitor.ago(v_beat.failed_since), v_beat.error) end;
  fix := $f$update whatsapp_monitor.settings set heartbeat_url = 'https://o-endereço-que-espera-os-avisos';$f$;
  return next;

  check_name := 'automação';
  select count(*), string_agg(distinct h.name, ', ') filter (where h.n <= 3),
         string_agg(format('select whatsapp_monitor.resume(%L, %L);', h.organization_id, h.name), ' ')
           filter (where h.n <= 3)
  into v_number, v_list, fix
  from (select i.name, s.organization_id, row_number() over (order by i.name, i.id) as n
        from whatsapp_monitor.instances i
        cross join lateral (
          select s.organization_id from whatsapp_monitor.sources s
          where s.instance_id = i.id order by s.created_at, s.source_table, s.source_id limit 1) s
        where i.removed_at is null and i.state ->> 'halted_at' is not null) h;
  ok := v_number = 0;
  detail := case when ok then 'O monitor pode agir em todas as instâncias.'
                 else format('Parada em %s, porque uma ação piorou a conexão: %s. Verifique no celular '
                             'e libere com a correção.', v_number, v_list) end;
  return next;
end
$$;

-- ------------------------------------------------------------------------------------------------
-- Bounds
-- ------------------------------------------------------------------------------------------------

-- What it costs, and whether what it leaves behind is removed again.
create or replace function whatsapp_monitor.check_bounds()
returns table (check_name text, ok boolean, detail text, fix text)
language plpgsql stable
set search_path = ''
as $$
declare
  c_free constant bigint := 500000;
  c_paid constant bigint := 2000000;
  v_now    timestamptz := clock_timestamp();
  v_first  timestamptz;
  v_calls  bigint;
  v_month  bigint;
  v_keeper record;
begin
  -- Refused calls count as well. Answers without a tick (health, status) leave no trace.
  select min(t.started_at) into v_first from whatsapp_monitor.ticks t
  where t.started_at > v_now - interval '1 day';
  select (select count(*) from whatsapp_monitor.ticks t
          where t.run_id = t.id and not t.follow_up and t.started_at > v_now - interval '1 day')
       + (select coalesce(sum(r.count), 0) from whatsapp_monitor.refusals r
          where r.minute > v_now - interval '1 day')
  into v_calls;
  v_month := v_calls * 30 * 86400 / greatest(extract(epoch from v_now - v_first), 1);

  check_name := 'cota de chamadas';
  ok := case when (v_first > v_now - interval '10 minutes') is not false then null
             when v_month <= c_free then true
             when v_month > c_paid then false end;
  detail := case
    when (v_first > v_now - interval '10 minutes') is not false then
      'Ainda é cedo para projetar. A cada 30 s são 86.400 por mês.'
    else format('Cerca de %s por mês; %s (grátis: 500.000, pago: 2.000.000; consultas de status e '
                'health não aparecem aqui).', v_month,
                case when v_month <= c_free then 'cabe no plano grátis'
                     when v_month <= c_paid then 'só cabe no plano pago'
                     else 'não cabe nem no plano pago' end) end;
  fix := 'select source, count(*) from whatsapp_monitor.triggers where at > now() - interval ''1 day'' group by source; -- quem chama tanto';
  return next;

  select h.cleaned_at, coalesce(h.error, n.runs_error) as error,
         make_interval(days => t.ledger_days + 1) as kept into strict v_keeper
  from whatsapp_monitor.housekeeping h, whatsapp_monitor.installation n, whatsapp_monitor.settings t;
  check_name := 'histórico';
  ok := v_keeper.error is null and not exists (
    select from whatsapp_monitor.ticks t where t.started_at < v_now - v_keeper.kept);
  if ok and to_regclass('cron.job_run_details') is not null then
    ok := not exists (
      select from cron.job_run_details d
      where d.database = current_database() and whatsapp_monitor.calls_monitor(d.command)
        and coalesce(d.end_time, d.start_time) < v_now - v_keeper.kept);
  end if;
  detail := case when ok then format('Limitado a %s dias.',
                                     extract(day from v_keeper.kept)::integer - 1)
                 else coalesce('A limpeza falhou: ' || v_keeper.error,
                               'Há registros mais velhos do que o limite.') end;
  if v_keeper.cleaned_at = '-infinity' and ok then
    ok := null;
    detail := 'A limpeza ainda não rodou.';
  end if;
  fix := 'update whatsapp_monitor.installation set runs_cleaned_at = ''-infinity''; '
         'select whatsapp_monitor.clean_up_runs_if_due(); select whatsapp_monitor.clean_up();';
  return next;
end
$$;

-- ------------------------------------------------------------------------------------------------
-- The checklist
-- ------------------------------------------------------------------------------------------------

-- Is it working? One row a check; ok is null where it is too early or not possible to tell; fix is what
-- to paste where it is false:
--
--   select * from whatsapp_monitor.checklist();
--
-- What keeps one check from looking keeps no other from it.
create or replace function whatsapp_monitor.checklist()
returns table (check_name text, ok boolean, detail text, fix text)
language plpgsql stable
set search_path = ''
as $$
declare
  v_check text;
begin
  foreach v_check in array '{extensions,job,runs,url,token,calls,refusals,receiver,ticks,instances,sources,webhooks,people,bounds}'::text[] loop
    begin
      return query execute format(
        'select c.check_name, c.ok, c.detail, case when not c.ok then c.fix end
         from whatsapp_monitor.%I() c', 'check_' || v_check);
    exception when others then
      return query select v_check, null::boolean,
                          format('Não foi possível olhar: %s', sqlerrm), null::text;
    end;
  end loop;
end
$$;
