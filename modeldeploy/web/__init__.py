"""What every process that answers browsers and clients over TCP shares: who may ask, how a server
is made safe, and the pages of Swagger UI. It knows no room that uses it."""
