"""HTTP: routes, request bodies, replies, CORS, the uvicorn protocol class, pages for operators."""
