"""An application that needs what nobody has made."""

from fastapi import FastAPI

app = FastAPI()
