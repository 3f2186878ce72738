"""In the place of BitBake's own module; see the package."""


class PRServiceConfigError(Exception):
    pass


def auto_start(_):
    return None


def auto_shutdown():
    pass
