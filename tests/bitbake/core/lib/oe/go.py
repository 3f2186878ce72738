def map_arch(a):
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(a, a)
