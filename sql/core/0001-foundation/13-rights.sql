-- Functions run as whoever calls them and can do what that role can do, so calling is open to everybody; said
-- here because ALTER DEFAULT PRIVILEGES may have taken it away.
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA millrace TO PUBLIC;
