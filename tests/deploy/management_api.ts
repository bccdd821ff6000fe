/**
 * Stands in for Supabase's Management API, as far as `supabase functions deploy
 * --use-api` calls it, and keeps what is uploaded.
 */

/** What one call of the CLI has uploaded. */
export interface Deployment {
  slug: string;
  /** What the platform is told about the files. */
  metadata: {
    entrypoint_path: string;
    import_map_path: string;
    static_patterns: string[];
    verify_jwt: boolean;
    name: string;
  };
  /** The files, by the paths at which the platform lays them. */
  files: Map<string, Uint8Array>;
}

/** A listening stand-in. */
export interface ManagementApi {
  /** `http://127.0.0.1:<port>` */
  url: string;
  /** All uploads so far. */
  deployments: Deployment[];
  stop(): Promise<void>;
}

/** What the platform bundles without Docker, in bytes. */
const BUNDLE_LIMIT = 5_000_000;

/** Knows one project and one access token. */
export function startManagementApi(project: string, accessToken: string): ManagementApi {
  const deployments: Deployment[] = [];
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    async (request) => {
      if (request.headers.get("authorization") !== `Bearer ${accessToken}`) {
        return refuse(401, "Unauthorized");
      }
      const { pathname, searchParams } = new URL(request.url);
      switch (`${request.method} ${pathname}`) {
        case `GET /v1/projects/${project}`:
          return Response.json(describeProject(project));
        case `GET /v1/projects/${project}/functions`:
          // The CLI asks where config.toml does not say it, and keeps what is there.
          return Response.json([describeFunction("rendizy-server", true)]);
        case `POST /v1/projects/${project}/functions/deploy`: {
          const deployment = await read(searchParams.get("slug")!, await request.formData());
          const { slug, metadata, files } = deployment;
          if (!files.has(metadata.entrypoint_path)) {
            return refuse(400, "Entrypoint path does not exist");
          }
          const size = [...files.values()].reduce((sum, bytes) => sum + bytes.length, 0);
          if (size > BUNDLE_LIMIT) return refuse(413, "Request entity too large");
          deployments.push(deployment);
          return Response.json(describeFunction(slug, metadata.verify_jwt), { status: 201 });
        }
      }
      return refuse(404, `Cannot ${request.method} ${pathname}`);
    },
  );
  return {
    url: `http://127.0.0.1:${server.addr.port}`,
    deployments,
    stop: () => server.shutdown(),
  };
}

function refuse(status: number, message: string): Response {
  return Response.json({ message }, { status });
}

async function read(slug: string, form: FormData): Promise<Deployment> {
  const files = new Map<string, Uint8Array>();
  for (const file of form.getAll("file") as File[]) {
    files.set(file.name, new Uint8Array(await file.arrayBuffer()));
  }
  return { slug, metadata: JSON.parse(form.get("metadata") as string), files };
}

function describeProject(ref: string) {
  return {
    id: ref,
    ref,
    organization_id: "organization",
    organization_slug: "organization",
    name: "Pousadas",
    region: "sa-east-1",
    status: "ACTIVE_HEALTHY",
    created_at: "2026-01-01T00:00:00Z",
  };
}

function describeFunction(slug: string, verify_jwt: boolean) {
  return {
    id: "00000000-0000-4000-8000-000000000000",
    slug,
    name: slug,
    status: "ACTIVE",
    version: 1,
    created_at: 1_767_225_600_000,
    updated_at: 1_767_225_600_000,
    verify_jwt,
  };
}
