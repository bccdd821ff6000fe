-- MONITOR DE CONEXÃO DO WHATSAPP: REMOVER
--
-- No painel do Supabase: SQL Editor > New query. Cole este arquivo inteiro e clique em Run. Remove tudo o
-- que é do monitor: os jobs, as funções, o schema whatsapp_monitor com o histórico e as configurações, e
-- o token do Vault. Suas tabelas ficam. A tabela organization_channel_config só é removida se foi o
-- monitor que a criou, está vazia e continua como ele a criou; senão ela já é sua, e fica.
--
-- As extensões pg_cron, pg_net e Vault ficam: outros podem usá-las. A função é removida no terminal:
-- supabase functions delete rendizy-server

begin;

do $$
declare
  v_table   constant regclass := to_regclass('public.organization_channel_config');
  v_done    text[] := '{}';
  v_found   text;
  v_number  integer;
  v_item    record;
begin
  -- O que é seu e depende do monitor não pode ir junto sem que você saiba.
  select string_agg(distinct i.identity, ', ') into v_found
  from pg_depend d
  cross join lateral pg_identify_object(d.classid, d.objid, d.objsubid) i
  cross join lateral pg_identify_object(d.refclassid, d.refobjid, d.refobjsubid) r
  where d.deptype in ('n', 'a') and d.refobjid >= 16384
    and (r.schema = 'whatsapp_monitor'
         or (d.refclassid, d.refobjid) = ('pg_namespace'::regclass, to_regnamespace('whatsapp_monitor')))
    and i.schema is distinct from 'whatsapp_monitor'
    and i.identity !~ '(^|\m(on|for|schema) )whatsapp_monitor(\.|$)';
  if v_found is not null then
    raise exception 'Nada foi removido: isto é seu e usa o monitor: %.', v_found
      using hint = 'Remova-o ou mude-o antes, e execute este arquivo de novo.';
  end if;

  -- Os jobs, inclusive os antigos, e o registro das suas execuções.
  if to_regclass('cron.job') is not null then
    v_number := 0;
    for v_item in
      select j.jobid from cron.job j
      where j.database = current_database()
        and (j.jobname = 'monitor-whatsapp-connection'
             or j.command ~* '/whatsapp/monitor/start|whatsapp_monitor\s*\.\s*fire\M')
    loop
      begin
        perform cron.unschedule(v_item.jobid);
        v_number := v_number + 1;
      exception when insufficient_privilege then
        v_done := v_done || format('FICOU o job %s, que é de outro dono: ele deve executar '
                                   'select cron.unschedule(%1$s);', v_item.jobid);
      end;
    end loop;
    delete from cron.job_run_details d
    where d.database = current_database()
      and d.command ~* '/whatsapp/monitor/start|whatsapp_monitor\s*\.\s*fire\M';
    if v_number > 0 then
      v_done := v_done || format('Jobs removidos: %s.', v_number);
    end if;
    if row_security_active('cron.job') then
      v_done := v_done || format('O usuário %s não vê jobs de outros donos: se houver, continuam.',
                                 current_user);
    end if;
  end if;

  -- O token.
  if to_regclass('vault.secrets') is not null then
    delete from vault.secrets s where s.name = 'whatsapp_monitor_token';
    if found then
      v_done := v_done || 'Token removido do Vault.'::text;
    end if;
  end if;

  -- As funções que a função da borda chama.
  v_number := 0;
  for v_item in
    select p.oid::regprocedure as signature from pg_proc p
    where p.pronamespace = 'public'::regnamespace and p.proname like 'whatsapp\_monitor\_%'
  loop
    execute format('drop function %s', v_item.signature);
    v_number := v_number + 1;
  end loop;
  if v_number > 0 then
    v_done := v_done || format('Funções removidas de public: %s.', v_number);
  end if;

  -- O schema.
  if to_regnamespace('whatsapp_monitor') is not null then
    drop schema whatsapp_monitor cascade;
    v_done := v_done || 'Schema whatsapp_monitor removido.'::text;
  end if;

  -- A tabela que o monitor cria onde não há nenhuma, se ninguém fez dela a sua.
  if obj_description(v_table, 'pg_class') like 'Created by the WhatsApp monitor: %' then
    execute 'select count(*) from public.organization_channel_config' into v_number;
    if v_number = 0
       and (select array_agg(a.attname::text order by a.attnum) from pg_attribute a
            where a.attrelid = v_table and a.attnum > 0 and not a.attisdropped)
           = '{id,organization_id,whatsapp_enabled,whatsapp_api_url,whatsapp_instance_name,
               whatsapp_api_key,whatsapp_instance_token,whatsapp_connected,whatsapp_phone_number,
               whatsapp_connection_status,whatsapp_last_connected_at,whatsapp_error_message,created_at,
               deleted_at}'::text[]
       and not exists (select from pg_trigger t where t.tgrelid = v_table)
       and not exists (select from pg_policy p where p.polrelid = v_table)
       and 2 = (select count(*) from pg_index x where x.indrelid = v_table)
    then
      begin
        drop table public.organization_channel_config;
        v_done := v_done || 'Tabela organization_channel_config removida: estava vazia.'::text;
      exception when dependent_objects_still_exist then
        v_done := v_done || 'Ficou a tabela organization_channel_config: objetos seus dependem dela.'::text;
      end;
    else
      v_done := v_done || format('Ficou a tabela organization_channel_config, que já é sua (%s linhas).',
                                 v_number);
    end if;
  end if;

  perform set_config('whatsapp_monitor.removed', array_to_string(
    case when v_done = '{}' then '{"Não havia nada do monitor neste banco de dados."}' else v_done end,
    E'\n'), false);
end
$$;

notify pgrst, 'reload schema';

commit;

select * from string_to_table(current_setting('whatsapp_monitor.removed'), E'\n') as resultado;
