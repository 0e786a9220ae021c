"""HTTP in, one call to a service, HTTP out. Each module makes one blueprint from the services it is handed."""
