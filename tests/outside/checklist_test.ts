/**
 * The checklist: right where all is right, and each thing that is broken turns
 * its own row, says what is wrong, and what to paste; pasted, that mends it.
 */
import assert from "node:assert/strict";
import { runJobs } from "../stack/cron.ts";
import type { Query } from "../stack/database.ts";
import {
  broken,
  check,
  checklist,
  INSTALL,
  JOB,
  OLD_COMMAND,
  onProjects,
  paste,
  type Project,
  withUrl,
} from "./installed.ts";
import { result } from "./ledger.ts";

const NAMES = [
  "pg_cron",
  "pg_net",
  "supabase_vault",
  "job",
  "agenda do job",
  "execuções do job",
  "URL da função",
  "token",
  "token do ambiente",
  "chamadas",
  "recusas",
  "webhook recebe",
  "ticks",
  "pontualidade",
  "pg_cron em serviço",
  "batimento",
  "instâncias",
  "checagens",
  "fontes",
  "credenciais",
  "gravação nas suas tabelas",
  "webhooks",
  "avisos",
  "heartbeat_url",
  "automação",
  "cota de chamadas",
  "histórico",
];

/** What the function answers to a call that it accepts, and to one without the right token. */
const ACCEPTED = '{"success":true,"monitoring":true,"tick_id":"…"}';
const UNAUTHORIZED = '{"success":false,"error":"Não autorizado: envie o token do monitor"}';

/** A project in which all has been right for a while. */
async function running(project: Project): Promise<void> {
  const { database, ledger } = project;
  // The stand-ins are no extensions; on a real project these rows are there.
  await database.exec(`
    set allow_system_table_mods = on;
    insert into pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion)
    select 99000 + n, name, 10, 'pg_catalog'::regnamespace, false, version
    from (values (1, 'pg_cron', '1.6.4'), (2, 'pg_net', '0.20.0'), (3, 'supabase_vault', '0.3.1'))
      as e (n, name, version);
    reset allow_system_table_mods;`);
  await paste(database, withUrl("https://abcdefgh.supabase.co"));
  await database.exec(`
    select whatsapp_monitor.add_instance('org', 'https://gateway.example', 'loja', 'key');
    update whatsapp_monitor.installation set scheduled_at = now() - interval '1 hour';`);
  await runJobs(database);
  await database.query(
    `insert into net._http_response (id, status_code, content, timed_out)
     select request_id, 200, $1, false from whatsapp_monitor.requests`,
    [ACCEPTED],
  );
  const begun = await ledger.begin({ source: "pg_cron", environment_token_digest: null });
  await ledger.finish(begun, begun.instances.map((each) => result(each)));
  await database.exec(`
    update whatsapp_monitor.instances set checked_at = now();
    update whatsapp_monitor.webhooks set finding = 'right', looked_at = now();
    update whatsapp_monitor.receiver_test
    set sent_at = now() - interval '1 min', arrived_at = now() - interval '59 s';
    insert into whatsapp_monitor.ticks
      (id, run_id, source, caller, claimed, started_at, finished_at, late_ms, lease_until)
    select id, id, 'pg_cron', 'token', 1, at, at, 200, at
    from (select gen_random_uuid() as id, at
          from generate_series(now() - interval '20 min', now() - interval '30 s', '30 s') at) t;`);
}

interface Break {
  /** The row that turns. */
  row: string;
  /** What is done, one statement each. */
  by: string[];
  /** What the row says then. */
  says: RegExp;
  /** Whether what it gives to paste is SQL that mends it here. */
  mends?: boolean;
  /** What becomes of `ok`; false if not given. */
  ok?: boolean | null;
}

/** What becomes of the last call. */
const answered = (change: string) => [`update net._http_response set ${change}`];
const ticksAs = (source: string) => [`update whatsapp_monitor.ticks set source = '${source}'`];
const manyTicks = (number: number) => [`
  insert into whatsapp_monitor.ticks (id, run_id, source, caller, claimed, started_at, finished_at)
  select id, id, 'person', 'token', 0, now() - interval '23 hours', now() - interval '23 hours'
  from (select gen_random_uuid() as id from generate_series(1, ${number})) t`];
const silence = (what: string) => [
  `update whatsapp_monitor.ticks
   set started_at = started_at - interval '10 min', finished_at = finished_at - interval '10 min'
   where ${what}`,
];

const BREAKS: Break[] = [
  ...["pg_cron", "pg_net", "supabase_vault"].map((name): Break => ({
    row: name,
    by: [`update pg_extension set extversion = '0.1' where extname = '${name}'`],
    says: /^Versão 0\.1: é preciso a .* ou mais nova/,
  })),
  { row: "pg_cron", by: ["alter schema cron rename to hidden"], says: /^Não está ativo/ },
  { row: "pg_net", by: ["alter schema net rename to hidden"], says: /^Não está ativo/ },
  { row: "supabase_vault", by: ["alter schema vault rename to hidden"], says: /^Não está ativo/ },

  {
    row: "job",
    by: ["select cron.unschedule('monitor-whatsapp-connection')"],
    says: /não existe/,
    mends: true,
  },
  {
    row: "job",
    by: ["select cron.alter_job(jobid, active := false) from cron.job"],
    says: /desativado/,
    mends: true,
  },
  {
    row: "job",
    by: [`select cron.schedule('antigo', '*/30 * * * * *', $$${OLD_COMMAND}$$)`],
    says: /Há 2 jobs .*"antigo"/,
    mends: true,
  },
  {
    row: "job",
    by: ["select cron.alter_job(jobid, command := 'select 1') from cron.job"],
    says: /não envia o token/,
    mends: true,
  },
  {
    row: "job",
    by: ["update cron.job set jobname = 'outro'"],
    says: /se chama "outro"/,
    mends: true,
  },
  {
    row: "agenda do job",
    by: ["select cron.alter_job(jobid, schedule := '*/30 * * * * *') from cron.job"],
    says: /a cada 30 minuto\(s\), e não em segundos: o pg_cron lê os cinco primeiros campos/,
    mends: true,
  },
  {
    row: "agenda do job",
    by: ["select cron.alter_job(jobid, schedule := '59 seconds') from cron.job"],
    says: /a cada 59 segundos\. O monitor deve ser chamado a cada 30 s/,
    mends: true,
  },
  {
    row: "agenda do job",
    by: ["update whatsapp_monitor.settings set interval_s = 10"],
    says: /a cada 30 segundos\. O monitor deve ser chamado a cada 10 s/,
    mends: true,
  },
  {
    row: "execuções do job",
    by: ["delete from cron.job_run_details"],
    says: /ainda não executou/,
  },
  {
    row: "execuções do job",
    by: ["update cron.job_run_details set start_time = start_time - interval '5 min'"],
    says: /A última foi há 5 min/,
  },
  {
    row: "execuções do job",
    by: [`update cron.job_run_details set status = 'failed',
          return_message = E'ERROR:  it broke at ${"a".repeat(64)}\\nDETAIL: more'`],
    says: /falhou: ERROR: {2}it broke at \*\*\*$/,
  },

  {
    row: "URL da função",
    by: ["update whatsapp_monitor.settings set function_url = null"],
    says: /não se sabe onde está/,
    mends: true,
  },
  { row: "token", by: ["delete from vault.secrets"], says: /não tem o segredo/, mends: true },
  {
    row: "token",
    by: ["update vault.secrets set secret = encode('word', 'base64')"],
    says: /não é um token/,
    mends: true,
  },
  {
    row: "token",
    by: ["delete from whatsapp_monitor.trigger_tokens"],
    says: /não é o que o monitor aceita/,
    mends: true,
  },
  {
    row: "token",
    by: ["update whatsapp_monitor.trigger_tokens set expires_at = now()"],
    says: /venceu/,
    mends: true,
  },
  {
    row: "token do ambiente",
    by: [
      `update whatsapp_monitor.environment
       set token_digest = (select digest from whatsapp_monitor.trigger_tokens)`,
      "select whatsapp_monitor.rotate_token('0')",
    ],
    says: /que foi trocado/,
  },

  {
    row: "chamadas",
    by: answered(`status_code = 401, content = '${UNAUTHORIZED}'`),
    says: /^401: a função não aceitou o token/,
  },
  {
    row: "chamadas",
    by: answered(`status_code = 401, content = '{"message":"Missing authorization header"}'`),
    says: /verify_jwt está ligado/,
  },
  {
    row: "chamadas",
    by: answered(`status_code = 404, content = '{"code":"NOT_FOUND"}'`),
    says: /^404: não há tal função/,
  },
  {
    row: "chamadas",
    by: answered(`content = '{"message":"Not Found"}'`),
    says: /^Respondeu 200, mas não o monitor/,
  },
  { row: "chamadas", by: answered("status_code = 546"), says: /^546: a função falhou/ },
  {
    row: "chamadas",
    by: answered("status_code = null, timed_out = true, error_msg = 'Timeout of 5000 ms reached'"),
    says: /não respondeu em 5 s/,
  },
  {
    row: "chamadas",
    by: answered(`status_code = null, error_msg = 'Couldn''t connect to server'`),
    says: /^Ninguém atende .*abcdefgh/,
  },
  {
    row: "chamadas",
    by: answered(`status_code = null, error_msg = 'Couldn''t resolve host name'`),
    says: /não existe: .*abcdefgh/,
  },
  {
    row: "chamadas",
    by: [
      "delete from net._http_response",
      "update whatsapp_monitor.requests set at = at - interval '1 min'",
    ],
    says: /não enviou o pedido/,
  },
  {
    row: "chamadas",
    by: ["update whatsapp_monitor.requests set request_id = null, problem = 'no_token'"],
    says: /não há token/,
  },
  {
    row: "chamadas",
    by: ["update whatsapp_monitor.requests set request_id = null, problem = 'no_url'"],
    says: /não se sabe onde/,
  },
  {
    row: "chamadas",
    by: ["update whatsapp_monitor.requests set request_id = null, problem = '42883 no function'"],
    says: /recusou o pedido: 42883 no function/,
  },
  { row: "chamadas", by: ["delete from whatsapp_monitor.requests"], says: /^Nenhuma chamada/ },
  {
    row: "recusas",
    by: [
      `insert into whatsapp_monitor.refusals values (now(), 'cron_job_org', 'bad_token', 3)`,
    ],
    says: /cron_job_org, 3 vezes \(token errado\)/,
  },

  ...([
    ['status_code = 401, content = \'{"message":"Missing authorization header"}\'', /verify_jwt/],
    ["status_code = 404", /^404: cada evento se perde/],
    ["status_code = 301", /redireciona/],
    ["status_code = 200", /não chegou ao banco/],
    ["status_code = 503", /tentará de novo/],
    ["status_code = null, timed_out = true", /não respondeu em 5 s/],
    ["status_code = null, error_msg = 'Couldn''t connect'", /^Ninguém atende .*whatsapp.webhook/],
  ] as const).map(([answer, says]): Break => ({
    row: "webhook recebe",
    by: [
      `update whatsapp_monitor.receiver_test
       set arrived_at = null, request_id = (select max(id) from net._http_response)`,
      `update net._http_response set ${answer}`,
    ],
    says,
  })),
  {
    row: "webhook recebe",
    by: ["update whatsapp_monitor.receiver_test set arrived_at = null, problem = 'no_url'"],
    says: /^Não se sabe onde/,
  },
  {
    row: "webhook recebe",
    by: ["update whatsapp_monitor.receiver_test set arrived_at = null"],
    says: /não teve resposta/,
  },
  {
    row: "webhook recebe",
    by: ["update whatsapp_monitor.receiver_test set arrived_at = null, sent_at = '-infinity'"],
    says: /^Ainda não testado/,
    ok: null,
  },

  { row: "ticks", by: silence("true"), says: /O último há 10 min/ },
  { row: "ticks", by: ["delete from whatsapp_monitor.ticks"], says: /^Nenhum no último dia/ },
  { row: "ticks", by: ticksAs("person"), says: /^Nenhum no último dia/ },
  {
    row: "pontualidade",
    by: [`delete from whatsapp_monitor.ticks
          where started_at between now() - interval '8 min' and now() - interval '3 min'`],
    says: /de 5 min; o pg_cron atrasou no máximo 0 s/,
  },
  {
    row: "pg_cron em serviço",
    by: ticksAs("cron_job_org"),
    says: /calado há mais de um dia; quem ainda chama é cron_job_org, há \d s/,
  },
  {
    row: "pg_cron em serviço",
    by: [
      "update whatsapp_monitor.ticks set source = 'easycron' where started_at > now() - interval '5 min'",
    ],
    says: /calado há 5 min; quem ainda chama é easycron/,
  },
  { row: "batimento", by: silence("true"), says: /terminou há 10 min/ },
  {
    row: "batimento",
    by: [
      `update whatsapp_monitor.ticks set finished_at = null, lease_until = now()
       where started_at > now() - interval '5 min'`,
    ],
    says: /Morreram no meio 1\d em 15 minutos/,
  },

  {
    row: "instâncias",
    by: ["update whatsapp_monitor.instances set removed_at = now()"],
    says: /Ainda não há nenhuma/,
  },
  {
    row: "checagens",
    by: ["update whatsapp_monitor.instances set checked_at = now() - interval '5 min'"],
    says: /1 de 1 sem checagem recente: loja/,
  },
  {
    row: "fontes",
    by: ["update whatsapp_monitor.source_sync set error = 'public.x: falta a coluna y'"],
    says: /falta a coluna y/,
    mends: true,
  },
  {
    row: "credenciais",
    by: [
      `insert into public.organization_channel_config
         (organization_id, whatsapp_enabled, whatsapp_api_url, whatsapp_instance_name)
       values ('nova', true, 'https://gateway.example', ' ')`,
    ],
    says: /1 linha\(s\) .* sem whatsapp_instance_name, whatsapp_api_key/,
    mends: true,
  },
  {
    row: "credenciais",
    by: [
      `update whatsapp_monitor.instances
       set status = 'misconfigured', reason_text = 'O gateway recusou a chave.'`,
    ],
    says: /loja \(O gateway recusou a chave\.\)/,
  },
  {
    row: "gravação nas suas tabelas",
    by: [
      `insert into whatsapp_monitor.write_backs
       select source_table, source_id, now() - interval '3 hours', now(), 9, '42501 not permitted'
       from whatsapp_monitor.sources`,
    ],
    says: /1 linha\(s\) não recebem .* há 3 h: 42501 not permitted/,
  },
  {
    row: "webhooks",
    by: [
      `update whatsapp_monitor.webhooks set finding = 'contended', looked_at = now()`,
    ],
    says: /outro programa troca o webhook/,
  },
  {
    row: "webhooks",
    by: [`update whatsapp_monitor.webhooks set finding = 'refused', looked_at = now()`],
    says: /recusou o webhook/,
  },
  {
    row: "webhooks",
    by: [
      `update whatsapp_monitor.webhooks
       set finding = 'foreign', found_url = 'https://n8n.example/1', looked_at = now()`,
    ],
    says: /loja, enviam a https:\/\/n8n\.example\/1/,
    ok: null,
  },
  {
    row: "avisos",
    by: [
      `insert into whatsapp_monitor.outages (instance_id, started_at, confirmed_at)
       select id, now(), now() from whatsapp_monitor.instances`,
      `insert into whatsapp_monitor.alerts (outage_id, kind, due_at, gave_up_at, error)
       select id, 'down', null, now(), 'http_500' from whatsapp_monitor.outages`,
    ],
    says: /1 não chegaram .* http_500/,
  },
  {
    row: "heartbeat_url",
    by: [
      `update whatsapp_monitor.settings set heartbeat_url = 'https://beats.example/1'`,
      `update whatsapp_monitor.heartbeat
       set given_at = now(), error = 'status_404', failed_since = now() - interval '2 hours'`,
    ],
    says: /Não aceita os avisos desde há 2 h: status_404/,
  },
  {
    row: "automação",
    by: [`update whatsapp_monitor.instances set state = '{"halted_at": 1}'`],
    says: /Parada em 1, .*: loja/,
    mends: true,
  },
  {
    row: "cota de chamadas",
    by: manyTicks(30_000),
    says: /só cabe no plano pago/,
    ok: null,
  },
  { row: "cota de chamadas", by: manyTicks(80_000), says: /nem no plano pago/ },
  {
    row: "histórico",
    by: [
      `insert into whatsapp_monitor.ticks (id, caller, claimed, started_at)
       values (gen_random_uuid(), 'token', 0, now() - interval '9 days')`,
    ],
    says: /mais velhos/,
    mends: true,
  },
  {
    row: "histórico",
    by: [
      `insert into cron.job_run_details (database, username, command, start_time, end_time)
       select database, username, command, now() - interval '9 days', now() - interval '9 days'
       from cron.job`,
    ],
    says: /mais velhos/,
    mends: true,
  },
  {
    row: "histórico",
    by: ["update whatsapp_monitor.installation set runs_error = 'permission denied'"],
    says: /A limpeza falhou: permission denied/,
    mends: true,
  },
];

/** What a person does with a fix: all of it, in the editor. */
async function follow(query: Query, fix: string): Promise<void> {
  for (const statement of fix.split(/;\s*(?:--.*)?/).filter((each) => each !== "")) {
    await query(statement);
  }
}

class Undo extends Error {}

onProjects({
  async "each thing that is broken turns its row, and what is given to paste mends it"(project) {
    await running(project);
    const { database } = project;
    const right = await checklist(database);
    assert.deepEqual(right.map(({ check_name }) => check_name), NAMES);
    for (const { check_name, ok, detail, fix } of right) {
      assert.deepEqual([ok, fix], [true, null], `${check_name}: ${detail}`);
    }
    assert.deepEqual(new Set(BREAKS.map(({ row }) => row)), new Set(NAMES), "each can turn");

    for (const { row, by, says, mends, ok = false } of BREAKS) {
      const undone = database.transaction(null, async (query) => {
        await query("set local allow_system_table_mods = on");
        for (const statement of by) await query(statement);
        const turned = await check({ query }, row);
        const what = `${row}: ${by[0]}: ${turned.detail}`;
        assert.equal(turned.ok, ok, what);
        assert.match(turned.detail, says, what);
        assert.equal(turned.fix === null, ok !== false, what);
        const kept = (await checklist({ query })).filter(({ detail }) => /olhar/.test(detail));
        assert.deepEqual(kept, [], `nothing keeps another row from being seen: ${what}`);
        if (mends) {
          await follow(query, turned.fix!);
          assert.equal((await check({ query }, row)).ok, true, `mended: ${what}: ${turned.fix}`);
        }
        throw new Undo();
      }, { statement_timeout_ms: 60_000 });
      await assert.rejects(undone, Undo, row);
    }
  },

  async "nothing is wrong just because it is early"({ database }) {
    await paste(database, withUrl("https://abcdefgh.supabase.co"));
    assert.deepEqual(await broken(database), ["instâncias"]);
    for (const name of ["execuções do job", "chamadas", "ticks", "batimento", "checagens"]) {
      assert.equal((await check(database, name)).ok, null, name);
    }
    await database.exec(
      "update whatsapp_monitor.installation set scheduled_at = now() - interval '5 min'",
    );
    assert.deepEqual(
      await broken(database),
      ["execuções do job", "chamadas", "ticks", "batimento", "instâncias"],
    );
  },

  async "it tells what a schedule means to pg_cron"({ database }) {
    await paste(database, INSTALL);
    const meanings: [string, number | null, RegExp][] = [
      ["30 seconds", 30, /^a cada 30 segundos$/],
      [" 1 SECOND ", 1, /^a cada 1 segundos$/],
      ["*/30 * * * * *", 1800, /^a cada 30 minuto\(s\), e não em segundos/],
      ["*/30 * * * *", 1800, /^a cada 30 minuto\(s\)$/],
      ["* * * * *", 60, /^a cada 1 minuto\(s\)$/],
      ["30 */5 * * * *", 18_000, /^a cada 5 hora\(s\), no minuto 30, e não em segundos/],
      ["5 * * * *", 3600, /^a cada 1 hora\(s\), no minuto 5$/],
      ["5 4 * * *", 86_400, /^uma vez por dia, às 4:05 UTC$/],
      ["0,30 * * * *", null, /^em certos minutos/],
      ["* * * * 1", null, /^em certos minutos/],
      ["@hourly", null, /^em certos minutos/],
    ];
    for (const [schedule, seconds, words] of meanings) {
      const [row] = await database.query<{ seconds: number | null; words: string }>(
        "select * from whatsapp_monitor.meaning($1)",
        [schedule],
      );
      assert.equal(row.seconds, seconds, schedule);
      assert.match(row.words, words, schedule);
    }
  },

  async "an environment's token is compared with Vault's"({ database, ledger }) {
    await paste(database, INSTALL);
    const [{ digest }] = await database.query<{ digest: string }>(
      "select digest from whatsapp_monitor.trigger_tokens",
    );
    const told: [string | null | undefined, boolean | null, RegExp][] = [
      [undefined, null, /ainda não disse/],
      [null, true, /não tem WHATSAPP_MONITOR_TOKEN/],
      [digest, true, /O mesmo que o do Vault/],
      ["b".repeat(64), true, /que é outro/],
    ];
    for (const [environment_token_digest, ok, says] of told) {
      await ledger.begin({ environment_token_digest });
      const row = await check(database, "token do ambiente");
      assert.equal(row.ok, ok);
      assert.match(row.detail, says);
    }
  },

  async "no row holds a secret, whatever is wrong"(project) {
    await running(project);
    const { database } = project;
    const secrets = await database.query<{ secret: string }>(`
      select decrypted_secret as secret from vault.decrypted_secrets
      union all select digest from whatsapp_monitor.trigger_tokens
      union all select alert_secret from whatsapp_monitor.settings`);
    await database.query("select cron.schedule('antigo', '* * * * *', $1)", [OLD_COMMAND]);
    await database.query(
      `update cron.job_run_details set status = 'failed', return_message = 'ERROR: ' || $1`,
      [secrets[0].secret],
    );
    const text = JSON.stringify(await checklist(database));
    for (const { secret } of [...secrets, { secret: "sb_secret_old" }]) {
      assert.ok(!text.includes(secret));
    }
  },

  async "another owner's job of the same name is named, with what its owner has to do"(
    { database },
  ) {
    await paste(database, INSTALL);
    await database.query(
      "insert into cron.job (jobname, schedule, command, username) values ($1, '* * * * *', $2, 'ana')",
      [JOB, OLD_COMMAND],
    );
    const row = await check(database, "job");
    assert.match(row.detail, /Há 2 jobs .*de ana/);
    assert.match(row.fix!, /^select cron\.unschedule\(\d+\); -- como o dono dele$/);
    assert.equal((await check(database, "agenda do job")).ok, false);
  },
});
