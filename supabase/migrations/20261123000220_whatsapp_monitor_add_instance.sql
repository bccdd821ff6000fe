-- WhatsApp connection monitor: adding an instance by hand.

-- ------------------------------------------------------------------------------------------------
-- Adding an instance
-- ------------------------------------------------------------------------------------------------

-- Adds an instance for the monitor to watch, and reads it at once:
--
--   select * from whatsapp_monitor.add_instance(
--     'my organization', 'https://evolution.example.com', 'my instance', 'the key');
--
-- It becomes a row of organization_channel_config or, where that cannot hold it, of
-- channel_instances. Where something is wrong nothing is written, and the error says what to do.
create or replace function whatsapp_monitor.add_instance(
  organization text, url text, name text, key text)
returns table (instance_id bigint, organization_id text, gateway_url text, instance_name text,
               source_table text, source_id text)
language plpgsql
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_call constant text := 'select * from whatsapp_monitor.add_instance('
    '''organização'', ''https://evolution.exemplo.com'', ''instância'', ''chave'');';
  v_url  constant text := whatsapp_monitor.normalize_url(add_instance.url);
  v_name constant text := add_instance.name;
  v_key  constant text := add_instance.key;
  v_organization  text := add_instance.organization;
  v_table   text;
  v_type    text;
  v_id      text;
  v_other   record;
  v_problem text;
begin
  -- What was given.
  v_problem := case
    when coalesce(v_organization, '') ~ '^\s*$'
      then 'A organização está vazia.'
    when coalesce(v_url, '') !~ '^https?://[^/?#@[:space:][:cntrl:]]+(/[^?#[:space:][:cntrl:]]*)?$'
      then 'A URL do gateway deve começar com http:// ou https://, sem usuário, senha, "?", "#" ou espaços.'
    when coalesce(v_name, '') ~ '^\s*\.{0,2}\s*$'
      then 'O nome da instância está vazio, ou é "." ou "..".'
    when coalesce(v_key, '') !~ '^[!-~]+$'
      then 'A chave está vazia, ou tem espaços ou caracteres que não são ASCII visível.'
    when greatest(octet_length(v_organization), octet_length(v_url), octet_length(v_name)) > 2000
      then 'A organização, a URL ou o nome da instância tem mais de 2000 bytes.'
  end;
  if v_problem is not null then
    raise exception '%', v_problem using errcode = '22023', hint = 'Chame assim: ' || v_call;
  end if;

  -- Where it goes.
  select t.source_table into v_table
  from whatsapp_monitor.source_tables() t
  where t.problem is null
  order by t.source_table desc
  limit 1;
  if v_table is null then
    raise exception 'Não há tabela que possa guardar a instância. %', coalesce(
        (select string_agg(t.problem, ' ') from whatsapp_monitor.source_tables() t),
        'Não existe public.organization_channel_config nem public.channel_instances.')
      using errcode = '22023',
            hint = 'Aplique as migrações de novo: onde não há tabela nenhuma, elas criam uma.';
  end if;
  select format_type(a.atttypid, a.atttypmod) into v_type
  from pg_attribute a
  where a.attrelid = to_regclass('public.' || v_table) and a.attname = 'organization_id';
  begin
    execute format('select %L::%s::text', v_organization, v_type) into v_organization;
  exception when data_exception then
    raise exception 'A organização "%" não serve: em public.% ela é do tipo %.',
        v_organization, v_table, v_type
      using errcode = '22023', hint = 'Chame assim: ' || v_call;
  end;

  -- Whether it is new.
  perform whatsapp_monitor.sync_sources();
  select s.*, s.key_digest = sha256(convert_to(v_key, 'UTF8')) as same_key into v_other
  from whatsapp_monitor.gateways g
  join whatsapp_monitor.instances i on i.gateway_id = g.id
  join whatsapp_monitor.sources s on s.instance_id = i.id
  where g.url = v_url and i.name = v_name
  order by s.organization_id = v_organization desc, s.created_at, s.source_table, s.source_id
  limit 1;
  if v_other.organization_id = v_organization then
    raise exception 'A instância "%" em % já está cadastrada para a organização %: public.%, id %.',
        v_name, v_url, v_organization, v_other.source_table, v_other.source_id
      using errcode = '22023',
            hint = format('Para trocar a chave: update public.%s set %s = ''nova chave'' where id = %L;',
                          v_other.source_table,
                          case v_other.source_table when 'channel_instances' then 'api_key'
                                                    else 'whatsapp_api_key' end,
                          v_other.source_id);
  elsif not v_other.same_key then
    raise exception 'A instância "%" em % já é da organização %, com outra chave.',
        v_name, v_url, v_other.organization_id
      using errcode = '22023',
            hint = 'Confira o nome da instância e a chave (a mesma chave é aceita) e chame assim: '
                   || v_call;
  end if;

  begin
    -- Each value in the type of its column, as far as the columns exist.
    execute (
      select format('insert into public.%I (%s) values (%s) returning id::text', v_table,
                    string_agg(format('%I', a.attname), ', '),
                    string_agg(format('%L::%s', v.value, format_type(a.atttypid, a.atttypmod)), ', '))
      from (values
        ('organization_channel_config', 'organization_id',        v_organization),
        ('organization_channel_config', 'whatsapp_api_url',       v_url),
        ('organization_channel_config', 'whatsapp_instance_name', v_name),
        ('organization_channel_config', 'whatsapp_api_key',       v_key),
        ('organization_channel_config', 'whatsapp_enabled',       'true'),
        ('channel_instances',           'organization_id',        v_organization),
        ('channel_instances',           'api_url',                v_url),
        ('channel_instances',           'instance_name',          v_name),
        ('channel_instances',           'api_key',                v_key),
        ('channel_instances',           'channel',                'whatsapp'),
        ('channel_instances',           'provider',               'evolution'),
        ('channel_instances',           'is_enabled',             'true')
      ) as v (table_name, column_name, value)
      join pg_attribute a on a.attname = v.column_name
      where v.table_name = v_table and a.attrelid = to_regclass('public.' || v_table)
        and a.attnum > 0 and not a.attisdropped)
    into v_id;
  exception
    when foreign_key_violation then
      raise exception 'A organização % não existe.', v_organization
        using errcode = '22023', detail = sqlerrm,
              hint = 'Crie a organização primeiro, ou corrija o id e chame assim: ' || v_call;
    when unique_violation then
      get stacked diagnostics v_problem = pg_exception_detail;
      raise exception 'public.% já tem uma linha no lugar desta.', v_table
        using errcode = '22023', detail = v_problem,
              hint = 'Ela pode estar desativada, apagada ou incompleta: complete-a com update, ou '
                     'escolha outra organização ou outro nome de instância.';
    when integrity_constraint_violation then
      raise exception 'public.% exige mais do que add_instance sabe preencher: %', v_table, sqlerrm
        using errcode = '22023', hint = 'Insira a linha nessa tabela com um insert completo.';
  end;

  perform whatsapp_monitor.sync_sources();
  return query
    select i.id, s.organization_id, g.url, i.name, s.source_table, s.source_id
    from whatsapp_monitor.sources s
    join whatsapp_monitor.instances i on i.id = s.instance_id
    join whatsapp_monitor.gateways g on g.id = i.gateway_id
    where s.source_table = v_table and s.source_id = v_id;
  if not found then
    raise exception 'public.% não guardou a instância como foi dada. %', v_table,
        (select coalesce(e.error, case when e.waiting > 0 then
                  'Antes dela esperam outras linhas; tente de novo em alguns minutos.' end)
         from whatsapp_monitor.source_sync e)
      using errcode = '22023',
            hint = 'Nada foi gravado. Veja se um gatilho da tabela muda a linha e tente de novo.';
  end if;
end
$$;
