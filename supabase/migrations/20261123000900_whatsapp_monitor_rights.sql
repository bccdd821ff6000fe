-- WhatsApp connection monitor: who may call. Last, because it is about all functions.

-- ------------------------------------------------------------------------------------------------
-- Rights
-- ------------------------------------------------------------------------------------------------

-- Supabase grants execute on new functions in public to anon and authenticated by name.
do $$
declare
  v_function regprocedure;
begin
  for v_function in
    select p.oid::regprocedure from pg_proc p
    where p.pronamespace = 'public'::regnamespace and p.proname like 'whatsapp\_monitor\_%'
  loop
    execute format('revoke execute on function %s from public, anon, authenticated', v_function);
    execute format('grant execute on function %s to service_role', v_function);
  end loop;
end
$$;

-- PostgREST learns of new functions.
notify pgrst, 'reload schema';
