"""The wire protocol, the same code at both ends of a channel.

From the bottom up: constants, errors, xdr, codec, types, hot, arguments, procedure, procedures, events, framing,
errno_names, connection, client, pool. Only ``client`` and ``pool`` do input and output; nothing else imports them.
"""
