// Ports by the name of the service: the first rule whose regular expression matches decides.
//
// Every call begins in the state that the module had when it was built: what one call writes into a
// variable, the next one does not find.

export const info = {
  describe() {
    return {
      name: 'by-pattern',
      version: '1.0.0',
      summary: 'services get their ports by regular expressions',
      optionsSchema: JSON.stringify({
        properties: {
          rules: {
            description: 'the first whose pattern matches the service decides',
            type: 'array',
            items: {
              type: 'object',
              properties: {
                service: { type: 'string', description: 'a regular expression, as in `^web`' },
                ports: { type: 'string', description: 'a range of ports, as in `24000-24999`' },
              },
              required: ['service', 'ports'],
            },
          },
        },
      }),
    };
  },
};

export const portSelection = {
  // What is thrown is the reason of a refusal: the reservation fails with it.
  select({ key, service, allowed }, options) {
    const { rules = [] } = JSON.parse(options);
    const rule = rules.find((rule) => pattern(rule.service).test(service));
    const { first, last } = rule ? within(allowed, rule.ports) : allowed;
    const start = first + (hash(key) % (last - first + 1));
    const onward = { first: start, last };
    return start === first ? [onward] : [onward, { first, last: start - 1 }];
  },
};

function pattern(text) {
  try {
    return new RegExp(text, 'u');
  } catch {
    throw new Error(`\`${text}\` is no regular expression`);
  }
}

function within(allowed, ports) {
  const [, first, last] = ports.match(/^(\d{1,5})-(\d{1,5})$/)?.map(Number) ?? [];
  if (!(allowed.first <= first && first <= last && last <= allowed.last)) {
    throw new Error(`\`${ports}\` is no range inside ${allowed.first}-${allowed.last}`);
  }
  return { first, last };
}

// A number that looks random and depends on nothing but the text: FNV-1a, then the finalizer of
// MurmurHash3. Of a long text every few characters have to do: a key may have 16,384, each costs
// about 2,000 of fuel, and a call has 10,000,000.
function hash(text) {
  const stride = Math.ceil(text.length / 512);
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at += stride) {
    hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
