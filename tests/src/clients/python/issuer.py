# An OpenID Connect provider on a port of loopback, until standard input ends. Prints its address.
import sys
import oidc_provider_mock

with oidc_provider_mock.run_server_in_thread(port=int(sys.argv[1])) as server:
    print(f"http://localhost:{server.server_port}", flush=True)
    sys.stdin.read()
