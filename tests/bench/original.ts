/**
 * The algorithm that the monitor replaces, in the language and with the client that it was written
 * in: state, webhook/set, database update, heartbeat, for each organization at every pass. It
 * never kept its limits (its timers and counters are lost between passes), so each pass does all of
 * it, and a restart where the state is not `open`.
 *
 * What kept it from working is put right: the webhook's body is nested and names events that exist,
 * `restart` has the right verb, names are encoded, and no column is written that is not there. Two
 * things are in its favour: the credentials are given, where it looked them up in two tables for
 * each call, and its client is made once. It took one call for each organization; here it is driven
 * with the concurrency of all others. It has no guards (no timeout, no limit of size), as ever.
 */
import { createClient } from "@supabase/supabase-js";
import { forEach, stateUrl, sweeper, type Work } from "./sweeper.ts";

type Status = "CONNECTED" | "DISCONNECTED" | "ERROR";

const EVENTS = [
  "MESSAGES_UPSERT",
  "MESSAGES_UPDATE",
  "MESSAGES_DELETE",
  "CONNECTION_UPDATE",
  "QRCODE_UPDATED",
  "CONTACTS_UPSERT",
  "CONTACTS_UPDATE",
  "GROUPS_UPSERT",
  "GROUP_UPDATE",
  "GROUP_PARTICIPANTS_UPDATE",
  "PRESENCE_UPDATE",
  "CHATS_SET",
  "CHATS_UPSERT",
  "CHATS_UPDATE",
  "CHATS_DELETE",
];
const WEBHOOK_URL = "https://project.example/functions/v1/rendizy-server/whatsapp/webhook";
/** How long it waits after a restart before it looks again. */
const RESTART_PAUSE_MS = 5000;

const log = (line: string) => console.log(`[WhatsApp Monitor] ${line}`);
const database = createClient(Deno.env.get("SUPABASE_URL")!, Deno.env.get("SERVICE_KEY")!);

export const handler = sweeper(async (work) => {
  let open = 0;
  await forEach(work, async (name) => {
    if (await monitor(work, name) === "CONNECTED") open++;
  });
  return open;
});

/** One pass over one organization, which has the name of its instance. */
async function monitor(work: Work, name: string): Promise<Status> {
  log(`🔍 Verificando conexão para org ${name}...`);
  const status = await check(work, name);
  if (status !== "CONNECTED") {
    log(`⚠️ Conexão perdida (status: ${status})`);
    return await reconnect(work, name);
  }
  log("✅ Conexão estável");
  await setWebhook(work, name);
  await write(name, true);
  await check(work, name);
  log("💓 Heartbeat enviado");
  return status;
}

async function check(work: Work, name: string): Promise<Status> {
  try {
    const response = await fetch(stateUrl(work, name), { headers: headers(work) });
    if (!response.ok) return "ERROR";
    const { instance, state } = await response.json();
    return (state ?? instance?.state) === "open" ? "CONNECTED" : "DISCONNECTED";
  } catch (error) {
    console.error(`[WhatsApp Monitor] Erro ao verificar status para org ${name}: ${error}`);
    return "ERROR";
  }
}

async function reconnect(work: Work, name: string): Promise<Status> {
  log(`🔄 Tentando reconectar org ${name}...`);
  await post(work, `/instance/restart/${encodeURIComponent(name)}`, {});
  log("✅ Instância reiniciada com sucesso");
  await new Promise((resolve) => setTimeout(resolve, RESTART_PAUSE_MS));
  const status = await check(work, name);
  if (status === "CONNECTED") log("✅ Reconexão bem-sucedida!");
  await write(name, status === "CONNECTED");
  return status;
}

async function setWebhook(work: Work, name: string): Promise<void> {
  log(`🔗 Configurando webhooks para: ${WEBHOOK_URL}`);
  const webhook = { enabled: true, url: WEBHOOK_URL, events: EVENTS, byEvents: false };
  const response = await post(work, `/webhook/set/${encodeURIComponent(name)}`, { webhook });
  if (response.ok) log("✅ Webhooks configurados com sucesso");
  else log(`⚠️ Erro ao configurar webhooks: ${response.status}`);
}

/** The body of the answer is read: one that nobody reads keeps its connection. */
async function post(work: Work, path: string, body: unknown): Promise<Response> {
  const response = await fetch(work.gateway.url + path, {
    method: "POST",
    headers: headers(work),
    body: JSON.stringify(body),
  });
  await response.text();
  return response;
}

async function write(name: string, connected: boolean): Promise<void> {
  const { error } = await database.from("organization_channel_config").update({
    whatsapp_connected: connected,
    whatsapp_connection_status: connected ? "connected" : "disconnected",
    whatsapp_last_connected_at: connected ? new Date().toISOString() : null,
  }).eq("organization_id", name);
  if (error) console.error(`[WhatsApp Monitor] ❌ Erro ao atualizar status no banco: ${error}`);
  else log(`📝 Status atualizado no banco: ${connected ? "CONECTADO" : "DESCONECTADO"}`);
}

function headers({ gateway: { key } }: Work): Record<string, string> {
  return { apikey: key, instanceToken: key, "Content-Type": "application/json" };
}
