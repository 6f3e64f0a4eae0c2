"""An application that says nowhere what it needs."""

from fastapi import FastAPI

app = FastAPI()
