"""ADBC's Flight SQL driver against an encrypted server. Arguments: the port, the authority of its certificate, another authority."""

import sys

import adbc_driver_flightsql.dbapi as flightsql
import adbc_driver_manager
from adbc_driver_flightsql import DatabaseOptions

port, authority, stranger = sys.argv[1:]


def answer(scheme, trusted=None):
    options = {"username": "analyst", "password": "any"}
    if trusted:
        with open(trusted) as file:
            options[DatabaseOptions.TLS_ROOT_CERTS.value] = file.read()
    with flightsql.connect(f"{scheme}://127.0.0.1:{port}", db_kwargs=options, autocommit=True) as connection:
        return connection.execute("SELECT count(*) AS n, sum(value) AS s FROM generate_series(1, 1000)").fetchall()


def refused(words, scheme, trusted=None):
    try:
        rows = answer(scheme, trusted)
    except adbc_driver_manager.Error as error:
        assert words in str(error), error
        return
    raise AssertionError(f"not refused: {scheme} {trusted} {rows}")


assert answer("grpc+tls", authority) == [(1000, 500500)]
refused("certificate", "grpc+tls", stranger)
refused("certificate", "grpc+tls")
refused("speaks TLS", "grpc")
assert answer("grpc+tls", authority) == [(1000, 500500)]
