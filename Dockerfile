# The command and the studio. Models run elsewhere: see compose.yaml.
FROM python:3.13-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN python -m venv /opt/groundingme \
 && /opt/groundingme/bin/pip install --no-cache-dir ".[postgres]"

FROM python:3.13-slim
RUN useradd --create-home --uid 1000 people
COPY --from=build /opt/groundingme /opt/groundingme
ENV PATH=/opt/groundingme/bin:$PATH
USER 1000
# Runs, builds and pictures: mount a folder here.
WORKDIR /data
EXPOSE 8000
ENTRYPOINT ["groundingme"]
CMD ["studio", "--host", "0.0.0.0", "--no-open"]
