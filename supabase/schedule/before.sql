-- MONITOR DE CONEXÃO DO WHATSAPP: INSTALAR, ATUALIZAR OU CONSERTAR
--
-- No painel do Supabase: SQL Editor > New query. Cole este arquivo inteiro e clique em Run. Se o
-- editor pedir confirmação, confirme: suas tabelas e seus dados ficam como estão. Executar de novo não
-- estraga nada. No fim aparece a lista de verificação: o que está "false" tem a correção ao lado.
--
-- A função também precisa estar publicada; no terminal: supabase functions deploy rendizy-server

-- A ÚNICA LINHA A EDITAR: o endereço do projeto, como 'https://SEU-PROJETO.supabase.co'. Vazia, vale o
-- endereço já conhecido; se não há nenhum, a função grava o dela na primeira vez em que for chamada, e
-- até lá a lista de verificação o diz.
set whatsapp_monitor.function_url = '';

-- Daqui em diante não há nada a editar. Tudo ou nada:
begin;

-- ------------------------------------------------------------------------------------------------
-- Extensões
-- ------------------------------------------------------------------------------------------------

do $$
declare
  v_extension record;
begin
  for v_extension in
    select * from (values
      ('pg_cron',        'cron',  null),
      ('pg_net',         'net',   'extensions'),
      ('supabase_vault', 'vault', null)
    ) as e (name, makes, lives)
  loop
    -- O que já existe, ou está no lugar dela, fica.
    continue when to_regnamespace(v_extension.makes) is not null;
    if not exists (select from pg_available_extensions a where a.name = v_extension.name) then
      raise exception 'A extensão % não está disponível neste Postgres.', v_extension.name
        using hint = 'Nada foi instalado. No Supabase ela faz parte de todo projeto: atualize o projeto '
                     'em Settings > Infrastructure. Em outro Postgres, instale-a antes.';
    end if;
    begin
      execute format('create extension %I', v_extension.name)
           || case when to_regnamespace(v_extension.lives) is not null
                   then format(' with schema %I', v_extension.lives) else '' end;
    exception when others then
      raise exception 'Não foi possível ativar a extensão %: %', v_extension.name, sqlerrm
        using hint = 'Nada foi instalado. Ative-a no painel, em Database > Extensions, e execute este '
                     'arquivo de novo.';
    end;
  end loop;

  -- Só a partir da versão 1.5 o pg_cron conhece segundos.
  if exists (select from pg_extension e
             where e.extname = 'pg_cron' and e.extversion ~ '^(0|1\.[0-4])(\.|-|$)') then
    alter extension pg_cron update;
  end if;
end
$$;
