-- ------------------------------------------------------------------------------------------------
-- Ligar
-- ------------------------------------------------------------------------------------------------

-- As instâncias que as suas tabelas nomeiam.
select whatsapp_monitor.sync_sources_if_older(interval '0');

-- O token no Vault (o que já existe fica) e o job, um só: os antigos que chamam o monitor são removidos.
select whatsapp_monitor.schedule(current_setting('whatsapp_monitor.function_url', true));

commit;

-- ------------------------------------------------------------------------------------------------
-- Verificar
-- ------------------------------------------------------------------------------------------------

select * from whatsapp_monitor.checklist();
