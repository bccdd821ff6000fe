-- MONITOR DE CONEXÃO DO WHATSAPP: VERIFICAR
--
-- No painel do Supabase: SQL Editor > New query. Cole este arquivo inteiro e clique em Run. Ele só olha,
-- não muda nada. ok: true está certo, false está errado e a correção está em fix, vazio ainda não se
-- sabe.

begin transaction read only;

do $$
declare
  v_rows jsonb;
begin
  if to_regprocedure('whatsapp_monitor.checklist()') is null then
    v_rows := jsonb_build_array(jsonb_build_object(
      'check_name', 'instalação',
      'ok', false,
      'detail', case when to_regnamespace('whatsapp_monitor') is null
                     then 'O monitor não está instalado neste banco de dados.'
                     else 'O monitor está instalado numa versão antiga, sem lista de verificação.' end,
      'fix', 'Cole e execute, inteiro, o arquivo supabase/CRIAR_CRON_JOB_MONITORAMENTO_WHATSAPP.sql'));
  else
    -- Sem isto este bloco não poderia existir onde não há monitor.
    execute 'select jsonb_agg(to_jsonb(c)) from whatsapp_monitor.checklist() c' into v_rows;
  end if;
  perform set_config('whatsapp_monitor.checklist', v_rows::text, false);
end
$$;

select *
from jsonb_to_recordset(current_setting('whatsapp_monitor.checklist')::jsonb)
  as c (check_name text, ok boolean, detail text, fix text);

commit;
