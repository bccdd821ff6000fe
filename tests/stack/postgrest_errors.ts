/** PostgREST's error bodies and the status it gives to each SQLSTATE. */
import { sqlError } from "./database.ts";

/** The shape of every error PostgREST itself answers. */
export interface RestError {
  code: string;
  message: string;
  details: string | null;
  hint: string | null;
}

/** An error answer in PostgREST's shape. */
export function restError(
  status: number,
  code: string,
  message: string,
  { details = null, hint = null }: {
    details?: string | null;
    hint?: string | null;
  } = {},
): Response {
  const body: RestError = { code, message, details, hint };
  return Response.json(body, {
    status,
    headers: {
      "content-type": "application/json; charset=utf-8",
      "proxy-status": `PostgREST; error=${code}`,
    },
  });
}

/** The answer for what a database call threw; anything but an SQL error means: no database. */
export function databaseError(thrown: unknown, role: string): Response {
  const error = sqlError(thrown);
  if (error) {
    const { code, message, detail: details, hint } = error;
    return restError(statusOf(code, role), code, message, { details, hint });
  }
  return restError(
    503,
    "PGRST000",
    "Database connection error. Retrying the connection.",
    { details: thrown instanceof Error ? thrown.message : String(thrown) },
  );
}

const EXACT: Record<string, number> = {
  "23503": 409,
  "23505": 409,
  "25006": 405,
  "53400": 500,
  "57P01": 503,
  "P0001": 400,
  "42883": 404,
  "42P01": 404,
  "42P17": 500,
};

const BY_CLASS: Record<string, number> = {
  "08": 503,
  "09": 500,
  "0L": 403,
  "0P": 403,
  "25": 500,
  "28": 403,
  "2D": 500,
  "38": 500,
  "39": 500,
  "3B": 500,
  "40": 500,
  "53": 503,
  "54": 500,
  "55": 500,
  "57": 500,
  "58": 500,
  "F0": 500,
  "HV": 500,
  "P0": 500,
  "XX": 500,
};

/** The HTTP status of an SQLSTATE, as PostgREST's `pgErrorStatus` has it. */
export function statusOf(sqlstate: string, role: string): number {
  if (sqlstate === "42501") return role === "anon" ? 401 : 403;
  const chosen = sqlstate.match(/^PT(\d{3})$/);
  if (chosen) return Number(chosen[1]);
  return EXACT[sqlstate] ?? BY_CLASS[sqlstate.slice(0, 2)] ?? 400;
}
