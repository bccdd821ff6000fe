/** Finding the function an RPC call means, and the SQL that calls it: PostgREST's rules. */
import type { Query } from "./database.ts";
import { restError } from "./postgrest_errors.ts";

interface Argument {
  name: string;
  type: string;
  required: boolean;
}

/** One function of schema `public`, as `pg_proc` knows it. */
interface Routine {
  name: string;
  arguments: Argument[];
  returns: "void" | "set" | "row" | "value";
  statement_timeout: string | null;
}

/** What to run, and how its one column `body` becomes the answer. */
export interface Call {
  sql: string;
  params: string[];
  returns: Routine["returns"];
  /** The function's own `set statement_timeout`, which PostgREST applies to the whole request. */
  statement_timeout: string | null;
}

/** Arguments by name, or a whole body that only a single unnamed parameter can take. */
export interface Arguments {
  named: Record<string, unknown>;
  body: unknown;
  /** A POST with JSON may go to a function with one unnamed json parameter. */
  unnamedAllowed: boolean;
}

/** The call for a function name and arguments, or the answer that says there is none. */
export async function resolve(
  query: Query,
  fn: string,
  args: Arguments,
): Promise<Call | Response> {
  const routines = await routinesNamed(query, fn);
  const names = Object.keys(args.named);
  const byName = routines.filter((routine) => takesNames(routine, names));
  if (byName.length === 1) return callByName(byName[0], args.named);
  if (byName.length > 1) return ambiguous(byName);
  const whole = args.unnamedAllowed ? routines.filter(takesWholeBody) : [];
  if (whole.length === 1) return callWithBody(whole[0], args.body);
  if (whole.length > 1) return ambiguous(whole);
  return notFound(fn, names, args.unnamedAllowed);
}

/** As `pg_proc` has it. */
interface CatalogRow {
  returns: Routine["returns"];
  /** The types of the input arguments. */
  types: string[];
  /** Names and modes of all arguments, output included; null where none has any. */
  names: string[] | null;
  modes: string[] | null;
  /** How many of the last input arguments have a default. */
  defaults: number;
  config: string[] | null;
}

async function routinesNamed(query: Query, fn: string): Promise<Routine[]> {
  const rows = await query<{ routine: CatalogRow }>(
    `select jsonb_build_object(
       'returns', case
         when p.prorettype = 'void'::regtype then 'void'
         when p.proretset then 'set'
         when t.typtype = 'c' or p.prorettype = 'record'::regtype then 'row'
         else 'value' end,
       'types', array(select format_type(type, null) from unnest(p.proargtypes) type),
       'names', p.proargnames,
       'modes', p.proargmodes::text[],
       'defaults', p.pronargdefaults,
       'config', p.proconfig
     ) as routine
     from pg_proc p
     join pg_type t on t.oid = p.prorettype
     where p.proname = $1 and p.pronamespace = 'public'::regnamespace
       and p.prokind = 'f' and p.prorettype <> 'trigger'::regtype
     order by p.oid`,
    [fn],
  );
  return rows.map(({ routine }) => {
    const { returns, types, names, modes, defaults, config } = routine;
    const inputs = names?.filter((_, i) => !modes || "ibv".includes(modes[i]));
    return {
      name: fn,
      returns,
      arguments: types.map((type, i) => ({
        name: inputs?.[i] ?? "",
        type,
        required: i < types.length - defaults,
      })),
      statement_timeout: config
        ?.find((setting) => setting.startsWith("statement_timeout="))
        ?.split("=")[1] ?? null,
    };
  });
}

/** Every given name is an argument, every required argument is given. */
function takesNames(routine: Routine, names: string[]): boolean {
  if (takesWholeBody(routine)) return false;
  const known = new Set(routine.arguments.map((argument) => argument.name));
  return names.every((name) => known.has(name)) &&
    routine.arguments.every((argument) => !argument.required || names.includes(argument.name));
}

function takesWholeBody(routine: Routine): boolean {
  const [only] = routine.arguments;
  return routine.arguments.length === 1 && only.name === "" &&
    /^jsonb?$/.test(only.type);
}

function callByName(routine: Routine, named: Record<string, unknown>): Call {
  const given = routine.arguments.filter((argument) => argument.name in named);
  if (given.length === 0) return call(routine, "", "", []);
  const columns = given.map(({ name, type }) => `${quote(name)} ${type}`).join(
    ", ",
  );
  const values = given.map(({ name }) => `${quote(name)} := args.${quote(name)}`).join(", ");
  // Through text, so that no driver decides what JSON to make of it.
  const source = `json_to_record($1::text::json) as args(${columns})`;
  return call(routine, source, values, [JSON.stringify(named)]);
}

function callWithBody(routine: Routine, body: unknown): Call {
  const cast = `$1::text::${routine.arguments[0].type}`;
  return call(routine, "", cast, [JSON.stringify(body)]);
}

/** Postgres makes the JSON: nothing passes through a JavaScript number. */
function call(
  routine: Routine,
  source: string,
  values: string,
  params: string[],
): Call {
  const { returns, statement_timeout } = routine;
  const invocation = `public.${quote(routine.name)}(${values})`;
  const sources = [source, `${invocation} as result`].filter(Boolean).join(
    ", lateral ",
  );
  const sql = returns === "set"
    ? `select coalesce(json_agg(result), '[]')::text as body from ${sources}`
    : returns === "row"
    ? `select row_to_json(result)::text as body from ${sources}`
    : returns === "value"
    ? `select to_json(${invocation})::text as body${source && ` from ${source}`}`
    : `select ${invocation}${source && ` from ${source}`}`;
  return { sql, params, returns, statement_timeout };
}

function notFound(
  fn: string,
  names: string[],
  unnamedAllowed: boolean,
): Response {
  const described = names.length === 0
    ? "without parameters"
    : `with parameter${names.length > 1 ? "s" : ""} ${names.join(", ")}`;
  const signature = names.length === 0
    ? `public.${fn} without parameters`
    : `public.${fn}(${names.join(", ")})`;
  const alternative = unnamedAllowed ? " or with a single unnamed json/jsonb parameter" : "";
  return restError(
    404,
    "PGRST202",
    `Could not find the function ${signature} in the schema cache`,
    {
      details: `Searched for the function public.${fn} ${described}${alternative}, ` +
        "but no matches were found in the schema cache.",
    },
  );
}

function ambiguous(routines: Routine[]): Response {
  const signatures = routines.map(({ name, arguments: args }) =>
    `public.${name}(${args.map((a) => `${a.name} => ${a.type}`).join(", ")})`
  );
  return restError(
    300,
    "PGRST203",
    `Could not choose the best candidate function between: ${signatures.join(", ")}`,
    {
      hint: "Try renaming the parameters or the function itself in the database so function " +
        "overloading can be resolved",
    },
  );
}

function quote(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
