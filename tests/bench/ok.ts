/** The empty function: nothing starts sooner. */
export const handler = () => new Response("ok");
