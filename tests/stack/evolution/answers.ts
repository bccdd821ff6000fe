/** The shapes of Evolution's answers. */

/** What a route answers. `wait_ms` is how long the real server takes on purpose. */
export interface Answer {
  status: number;
  body: unknown;
  wait_ms?: number;
}

const NAMES: Record<number, string> = {
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  500: "Internal Server Error",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout",
};

/** A plain answer. */
export function ok(body: unknown, status = 200): Answer {
  return { status, body };
}

/** An error body, the same in all versions; `message` is a string or an array, by the case. */
export function failure(status: number, message: unknown): Answer {
  const error = NAMES[status] ?? "Error";
  return { status, body: { status, error, response: { message } } };
}

/** 401: the message is a string here, not an array (A15). */
export const unauthorized = (): Answer => failure(401, "Unauthorized");

/** The HTTP 200 that reports a failure (A18, N2). */
export const errorObject = (): Answer => ok({ error: true, message: "[object Object]" });

/** 500 of the database layer; the text differs per install (I6 to I8). */
export function databaseDown(call: string, inArray = false): Answer {
  const where = `\nInvalid \`${call}\` invocation in\n/evolution/dist/main.js:1:1\n\n` +
    "Can't reach database server at `127.0.0.1:5432`";
  return failure(
    500,
    inArray ? [`PrismaClientKnownRequestError: ${where}`] : where,
  );
}

/** The gate of 2.4 while the licence is not active: another shape than all other errors. */
export function licenceRequired(): Answer {
  return {
    status: 503,
    body: {
      error: "service not activated",
      code: "LICENSE_REQUIRED",
      register_url: "http://127.0.0.1/manager/register",
      instance_id: "00000000-0000-4000-8000-000000000000",
      docs_url: "https://doc.evolution-api.com",
      message: "License required. Activate this server to use the API.",
    },
  };
}
