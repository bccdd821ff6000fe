/** A gateway and a receiver of its webhooks. */
import { type Gateway, startGateway, type Version } from "../../stack/evolution/mod.ts";
import { type Receiver, startReceiver } from "../receiver.ts";

/** What a test of the webhooks is given: an open instance `loja`, whose webhook has every event. */
export interface Bench {
  gateway: Gateway;
  receiver: Receiver;
  /** The address of the webhook. */
  url: string;
}

/** A test with a gateway of its own. */
export function onWebhooks(
  name: string,
  run: (bench: Bench) => Promise<void>,
  options: { version?: Version } = {},
): void {
  Deno.test(name, async () => {
    const gateway = await startGateway(options);
    const receiver = startReceiver();
    const url = new URL("/hook/loja", receiver.url).href;
    try {
      gateway.set("loja", "open");
      gateway.setWebhook("loja", url);
      await run({ gateway, receiver, url });
    } finally {
      await gateway.stop();
      await receiver.stop();
    }
  });
}

/** What a receiver was told, in that order: the state and its reason, or the event. */
export function seen({ deliveries }: Receiver): string[] {
  // deno-lint-ignore no-explicit-any -- whatever was posted
  return deliveries.map(({ event, data }: any) =>
    data?.state ? `${data.state} ${data.statusReason}` : event
  );
}
